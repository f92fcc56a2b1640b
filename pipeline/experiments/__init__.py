"""Fitted models and the files of their numbers, which several stages share."""
