"""Families of built-in networks that are `nn.Module`s: trained and measured as a user's own model is."""
