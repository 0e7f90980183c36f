"""Measurements of speed and overhead, each a command that prints a table; never part of the tests."""
