"""Measurements of speed and overhead, each a command that prints a table; what they measure is never part of the tests."""
