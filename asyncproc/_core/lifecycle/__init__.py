"""The lifecycle machine: what has happened to a child's phases in, which comes next out."""
