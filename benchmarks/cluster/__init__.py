"""What a sweep costs on a Ray cluster."""
