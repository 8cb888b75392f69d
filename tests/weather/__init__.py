"""The end of a process in the worst weather."""
