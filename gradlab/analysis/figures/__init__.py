"""What there is to show of some runs: the numbers of each figure, and what they say."""
