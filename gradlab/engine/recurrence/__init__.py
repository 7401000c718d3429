"""Gradients along time, through recurrent modules."""
