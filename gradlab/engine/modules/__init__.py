"""Trials and measurements of any `nn.Module`."""
