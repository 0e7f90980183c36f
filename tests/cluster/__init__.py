"""End-to-end tests on a real Ray cluster: several machines, each in namespaces of its own, on one box."""
