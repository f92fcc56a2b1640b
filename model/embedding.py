"""Systems that gradients fit: two tables of embeddings, scored by inner product."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Config
from model.dataset import Catalogue, Dataset
from model.fitting import Fitter
from model.objective import SquaredNorm
from model.ranking import InnerProduct
from model.sampling import Batch
from model.system import Fit, Run, System

if TYPE_CHECKING:
    from model.ranking import Scorer


@dataclass(frozen=True)
class Embeddings:
    """What a forward pass makes.

    Attributes:
        users, items: (U, D) and (I, D); the score of (u, i) is their inner product.
        collaborative: (I, d), the items before content is fused into them.
        content: [m_1, ..., m_n], each (I, d), the projected modalities.
        fused: (I, d), the modalities fused with one another.
    """

    users: Tensor
    items: Tensor
    collaborative: Tensor | None = None
    content: Sequence[Tensor] = ()
    fused: Tensor | None = None

    def of_collaborative_lengths(self) -> Embeddings:
        """The items turned as they are, but as long as their collaborative embeddings.

        So content changes directions alone: the question of magnitude in the paper's section 6.
        """
        if self.collaborative is None:
            return self
        lengths = self.collaborative.norm(dim=1, keepdim=True)
        return replace(self, items=lengths * F.normalize(self.items))


class EmbeddingSystem(nn.Module, System):
    """A system that is a network; subclasses give `forward` and their terms of the objective.

    The objective of a batch is the ranking loss (`train.loss`) + `auxiliary` + `penalty`.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        nn.Module.__init__(self)
        System.__init__(self, catalogue, config)

    @abstractmethod
    def forward(self) -> Embeddings:
        """The embeddings under the present parameters."""

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """A loss beside the ranking loss, a scalar; None where there is none."""
        return None

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """The squared norms that are penalised."""
        return ()

    def learning_rate(self, epoch: int) -> float:
        """Of epoch 1, 2, ..."""
        return self.config.train.learning_rate

    def begin_epoch(self) -> None:
        """Renew what is renewed once an epoch."""

    def fit(self, dataset: Dataset, run: Run) -> Fit:
        return Fitter(self, dataset, run).run()

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        self.eval()
        made = self()
        return made.users.detach(), made.items.detach()

    def scorer(self) -> Scorer:
        return InnerProduct(*self.embeddings())

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that gradients move, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.trained().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, parameter in self.trained().items():
            parameter.copy_(state[name])

    def constants(self) -> dict[str, Tensor]:
        trained = self.trained()
        return {name: t for name, t in self.state_dict().items() if name not in trained}


def xavier_table(*shape: int) -> nn.Parameter:
    """A table drawn Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(*shape)))


def split_table(table: Tensor, n_users: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Users (U, d) and items (I, d) of what was drawn as one table (U + I, d)."""
    return nn.Parameter(table[:n_users].detach().clone()), nn.Parameter(
        table[n_users:].detach().clone()
    )
