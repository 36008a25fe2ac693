"""What users build and subclass, and :func:`current`. Descriptions only: nothing here starts anything."""
