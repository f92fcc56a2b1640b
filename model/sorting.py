"""Small numbers in order, and where each begins: what every batch needs of its users and items."""

import numpy as np
import torch
from torch import Tensor


def stable_order(values: Tensor, below: int) -> Tensor:
    """(n,) int64, the places of `values` (n,) int64 by rising value, equal ones as they stand.

    On a CPU sixteen bits at a time, which NumPy sorts by radix: a tenth of what `torch.sort` takes
    of a batch, which compares (benchmarks/RESULTS.md).

    Args:
        below: more than every value; none is negative.
    """
    if values.device.type != "cpu":
        return torch.sort(values, stable=True).indices
    numbers = values.numpy()
    order = numbers.astype(np.uint16).argsort(kind="stable")
    for shift in range(16, (below - 1).bit_length(), 16):
        part = (numbers[order] >> shift).astype(np.uint16)
        order = order[part.argsort(kind="stable")]
    return torch.from_numpy(order)


def starts(values: Tensor, below: int) -> Tensor:
    """(below + 1,) int64, how many of `values` (n,) int64 are smaller than 0, 1, ..., `below`.

    For a CSR matrix with those rows, where each begins; without a wait for a card, unlike bincount.
    """
    counts = torch.zeros(below + 1, dtype=torch.int64, device=values.device)
    counts[1:].scatter_add_(0, values, counts.new_ones(1).expand(len(values)))
    return counts.cumsum(0)
