"""The objective of a batch: explicit terms, and their gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class SquaredNorm:
    r"""strength · \sum_r counts_r ||table_r||^2, a term of the objective.

    Its gradient is added to the table's in place. As a term of autograd it would take two more
    passes over the whole table and one more of its size: 4 to 20 % of a step (measured).

    Attributes:
        table: (n, d) or (n,).
        counts: (n,) how often each row counts; float, or bool.
        strength: lambda, with whatever the sum is divided by.
    """

    table: nn.Parameter
    counts: Tensor
    strength: float

    def value(self) -> Tensor:
        """The term itself, a scalar."""
        return self.strength * (self._counts() * self.table.square()).sum()

    def add_gradient(self) -> None:
        """Add 2 · strength · counts_r · table_r to the table's gradient."""
        gradient = self.table.grad
        assert gradient is not None
        gradient.addcmul_(self.table.detach(), self._counts(), value=2 * self.strength)

    def _counts(self) -> Tensor:
        counts = self.counts.to(self.table.dtype)
        return counts.view(-1, *(1,) * (self.table.dim() - 1))


@dataclass(frozen=True)
class Objective:
    """What a step minimises: ranking + auxiliary + the sum of the penalty's terms."""

    ranking: Tensor
    auxiliary: Tensor | None
    penalty: Sequence[SquaredNorm]

    def value(self) -> Tensor:
        """The objective, a scalar; no gradient flows through its penalty."""
        value = self.ranking if self.auxiliary is None else self.ranking + self.auxiliary
        for term in self.penalty:
            value = value + term.value().detach()
        return value

    def backward(self) -> None:
        """Add the gradient of every term to the parameters'."""
        loss = self.ranking if self.auxiliary is None else self.ranking + self.auxiliary
        loss.backward()
        for term in self.penalty:
            term.add_gradient()
