"""What moves sessions along the path: knows the ports, never an adapter."""
