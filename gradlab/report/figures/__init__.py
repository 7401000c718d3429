"""Figures on paper: PNG and SVG files, and the numbers behind them as CSV."""
