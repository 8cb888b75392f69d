"""`presence-manager top`: what is held, cleared and refused, as it changes."""
