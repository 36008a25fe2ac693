"""The driver of the tree machine: handles, groups, and the mailbox between facts and deeds."""
