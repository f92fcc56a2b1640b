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


def split(
    aggregate: Aggregate, parts: Sequence[Tensor], present: Tensor
) -> tuple[list[Tensor], Tensor | None]:
    """What each part adds to the aggregate (I, d), and a constant (d,) beside them, if any.

    A function of each dimension alone, of degree 1, is sum_p x_p df/dx_p (Euler); a product is
    its factors' in equal shares.
    """
    if isinstance(aggregate, Concatenation):
        weights = aggregate.linear.weight.chunk(len(parts), dim=1)
        terms = [(x * has) @ w.T for x, has, w in zip(parts, present, weights, strict=True)]
        return terms, aggregate.linear.bias
    if isinstance(aggregate, Ensemble):
        mixture = aggregate.logits.softmax(0)
        each = [split(f, parts, present)[0] for f in FUNCTIONS.values()]
        mixed = [
            torch.stack([w * s for w, s in zip(mixture, of_part, strict=True)]).sum(0)
            for of_part in zip(*each, strict=True)
        ]
        return mixed, None
    with torch.inference_mode(False), torch.enable_grad():
        # Clones, since what was made in inference mode takes no part in gradients.
        leaves: list[Tensor] = [part.detach().clone().requires_grad_() for part in parts]
        slopes = torch.autograd.grad(aggregate(leaves, present.clone()).sum(), leaves)
    factors = present.sum(0).clamp(min=1) if aggregate is product else 1
    return [x.detach() * slope / factors for x, slope in zip(leaves, slopes, strict=True)], None


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
