"""Study files that are shipped with the package; each file's header states its question, trajectories, cost and command."""
