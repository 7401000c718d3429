"""The torch wing: stacked networks, their training and every measured statistic."""
