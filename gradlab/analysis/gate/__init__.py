"""The regression gate: two measurements in, a verdict per statistic out."""
