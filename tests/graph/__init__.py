"""Graph, as it is asked and as it answers."""
