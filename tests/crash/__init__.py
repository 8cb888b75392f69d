"""Processes that are killed at every step, and what is found afterwards."""
