"""When a request may leave, and how many at a time."""
