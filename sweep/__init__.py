"""The study: from a YAML file to cells, to unique trajectories, to trials on Ray Tune.

Only ``runner.py`` and ``launch.py`` know Ray, and neither imports it before it is needed.
"""
