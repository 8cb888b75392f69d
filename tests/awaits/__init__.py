"""What becomes of a call that hangs, or is cancelled, at any of its awaits."""
