"""Conditions on trials: a small expression language that is read, never run."""
