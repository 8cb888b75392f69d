"""The daemon's HTTP API: what `presence-manager run` serves."""
