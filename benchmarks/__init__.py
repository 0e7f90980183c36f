"""Measurements of speed and overhead: commands that print a table, and what they share; no test depends on a measured time."""
