"""The tests: behaviour through the public doors, against numbers known by hand or from the literature."""
