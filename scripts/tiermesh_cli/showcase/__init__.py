"""What `tiermesh demo` shows: a workload, the mesh at work on it, and whether the laws held."""
