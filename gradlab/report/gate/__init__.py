"""The outcome of a check on a terminal, as JSON, for CI systems and for pages."""
