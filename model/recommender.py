"""The contract that every system fulfils: two tables of embeddings, scored by inner product."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from model.config import Config
from model.features import Modality
from model.interactions import Interactions
from model.sampling import Batch


@dataclass(frozen=True)
class Catalogue:
    """What a model is built on: the training edges and the items' content."""

    train: Interactions
    modalities: list[Modality] = field(default_factory=list)

    @property
    def n_users(self) -> int:
        """U."""
        return self.train.n_users

    @property
    def n_items(self) -> int:
        """I."""
        return self.train.n_items


class Recommender(nn.Module):
    """A system under comparison. Whatever it is made of, it scores (u, i) by users[u] · items[i].

    Parameters are drawn from torch's global generator. Subclasses give `forward`, and what their
    objective has besides the ranking loss.
    """

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__()
        self.config = config
        self.n_users, self.n_items = catalogue.n_users, catalogue.n_items

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (I, D)."""
        raise NotImplementedError

    def auxiliary_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor | None:
        """What the objective has besides the ranking loss: a scalar, or nothing."""
        return None

    def regularize(self, batch: Batch) -> None:
        """Add the gradient of the L2 penalty on what the batch touches, after `backward`."""

    def begin_epoch(self) -> None:
        """Renew what is renewed once an epoch."""

    def learning_rate(self, epoch: int) -> float:
        """Of epoch 1, 2, ..."""
        return self.config.train.learning_rate

    @property
    def alpha(self) -> float | None:
        """The learned weight of the collaborative embedding, where a variant has one."""
        return None


def xavier_table(*shape: int) -> nn.Parameter:
    """A table drawn Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(*shape)))


def split_table(table: Tensor, n_users: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Users (U, d) and items (I, d) of what was drawn as one table (U + I, d)."""
    return nn.Parameter(table[:n_users].detach().clone()), nn.Parameter(
        table[n_users:].detach().clone()
    )


def regularize_rows(table: nn.Parameter, touched: Tensor, strength: float) -> None:
    """Add the gradient of strength · ||table[touched]||^2 to the table's."""
    assert table.grad is not None
    table.grad.addcmul_(table.detach(), touched[:, None].to(table.dtype), value=2 * strength)
