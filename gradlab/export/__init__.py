"""A run in the format of another tool."""
