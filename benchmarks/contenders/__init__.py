"""The contenders. Each clears the same users, in a process of its own."""
