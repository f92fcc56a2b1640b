"""Fitted models by content, and what studies of them write."""
