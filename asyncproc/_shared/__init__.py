"""State that the nodes of a tree share. Its truth lives in the manager's process; children read copies and ask for changes."""
