"""A task's items."""
