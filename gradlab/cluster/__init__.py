"""A sweep on the machines of a Ray cluster."""
