"""The tree machine: facts about nodes in, wishes about nodes out."""
