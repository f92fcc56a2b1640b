"""Functions that reduce an item's embeddings to one (eq. 10); absent ones take no part."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.config import AGGREGATES
from model.reductions import scale

# Each takes p embeddings (I, d) and who has them (p, I, 1) as 0. and 1., and returns (I, d);
# an item that has none of them gets zeros.
Aggregate = Callable[[Sequence[Tensor], Tensor], Tensor]


def mean(parts: Sequence[Tensor], present: Tensor) -> Tensor:
    """(e + sum m_j) / (n_i + 1), n_i the modalities that item i has (eq. 13)."""
    return total(parts, present) / present.sum(0).clamp(min=1)


def total(parts: Sequence[Tensor], present: Tensor) -> Tensor:
    """The sum over those present."""
    result = parts[0] * present[0]
    for part, has in zip(parts[1:], present[1:], strict=True):
        result = torch.addcmul(result, part, has)
    return result


def maximum(parts: Sequence[Tensor], present: Tensor) -> Tensor:
    """The largest value of each dimension."""
    return _where_any(
        torch.stack(list(parts)).masked_fill(present == 0, -torch.inf).amax(0), present
    )


def minimum(parts: Sequence[Tensor], present: Tensor) -> Tensor:
    """The smallest value of each dimension."""
    return _where_any(
        torch.stack(list(parts)).masked_fill(present == 0, torch.inf).amin(0), present
    )


def product(parts: Sequence[Tensor], present: Tensor) -> Tensor:
    """The product of each dimension."""
    return _where_any(torch.stack(list(parts)).masked_fill(present == 0, 1.0).prod(0), present)


def _where_any(values: Tensor, present: Tensor) -> Tensor:
    return values.masked_fill(present.amax(0) == 0, 0.0)


class Concatenation(nn.Module):
    """A trained linear layer of the p embeddings side by side, zeros for those absent."""

    def __init__(self, parts: int, dimension: int) -> None:
        super().__init__()
        self.linear = nn.Linear(parts * dimension, dimension)

    def forward(self, parts: Sequence[Tensor], present: Tensor) -> Tensor:
        masked = [part * has for part, has in zip(parts, present, strict=True)]
        result: Tensor = self.linear(torch.cat(masked, dim=1))
        return result


class Ensemble(nn.Module):
    """The five functions without parameters, weighed by a trained softmax of equal start."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(FUNCTIONS)))

    def forward(self, parts: Sequence[Tensor], present: Tensor) -> Tensor:
        weights = self.logits.softmax(0)
        results = [f(parts, present) for f in FUNCTIONS.values()]
        return torch.stack([scale(w, r) for w, r in zip(weights, results, strict=True)]).sum(0)


FUNCTIONS: dict[str, Aggregate] = {
    "mean": mean,
    "sum": total,
    "max": maximum,
    "min": minimum,
    "prod": product,
}


def aggregate_of(name: str, parts: int, dimension: int) -> Aggregate:
    """The function of that name (`AGGREGATES`) for p embeddings of width d.

    Raises:
        ValueError: there is none of that name.
    """
    if name == "concat":
        return Concatenation(parts, dimension)
    if name == "ensemble":
        return Ensemble()
    if name not in FUNCTIONS:
        raise ValueError(f"aggregate {name!r}; valid: {', '.join(AGGREGATES)}")
    return FUNCTIONS[name]
