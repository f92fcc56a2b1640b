"""Tensors in, tensors out: propagation, systems, losses, sampling, fitting, metrics."""
