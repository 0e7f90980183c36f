"""The study: from a YAML file to cells, to unique trajectories, to trials on Ray Tune.

Only ``runner.py`` knows Ray, and it does not import it before there is something to run.
"""
