"""LightGCN alone, without content."""

from model.lightgcn import LightGCN


class Unfused(LightGCN):
    """item = e."""
