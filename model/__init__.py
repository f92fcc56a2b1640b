"""Tensors in, tensors out: propagation, fusion variants, losses, sampling, fitting, metrics."""
