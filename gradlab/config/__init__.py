"""The YAML: what an experiment is, and how its sweep expands into trials."""
