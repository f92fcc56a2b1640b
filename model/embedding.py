"""Systems that gradients fit: two tables of embeddings, scored by inner product."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Config
from model.dataset import Catalogue, Dataset, Modality, completed, means_of
from model.fitting import Fitter
from model.folding import folded_users
from model.interactions import Interactions
from model.objective import SquaredNorm
from model.ranking import InnerProduct
from model.reductions import numbers
from model.sampling import Batch
from model.system import Fit, Run, System, Unsupported

if TYPE_CHECKING:
    from model.ranking import Scorer
    from model.ranks import Share


COLLABORATION = "collaboration"
CONSTANT = "constant"
"""Names of terms beside the modalities'."""


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

    constant_users: ClassVar[int] = 0  # the last of a user's numbers that are 1 for everybody

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        nn.Module.__init__(self)
        System.__init__(self, catalogue, config)
        # Items are ranked as their loss compares them.
        self.by_cosine = config.train.loss == "softmax"
        self.means = means_of(catalogue.modalities)
        self.added: dict[str, Tensor] = {}  # terms (m, D) of items that came after fitting
        self.cold: tuple[Tensor, list[Modality]] | None = None  # items that count as such, content
        if self.means and config.train.cold_items == "new":
            rows = (catalogue.train.item_degrees() == 0).nonzero()
            content = [m.of(rows[:, 0]) for m in catalogue.modalities]
            self.cold = rows[:, 0], completed(content, self.means, config.train.missing)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What is neither parameter nor buffer moves along, or it would be copied every epoch.
        if self.cold is not None:
            rows, content = self.cold
            moved = [Modality(m.name, fn(m.vectors), fn(m.present)) for m in content]
            self.cold = fn(rows), moved
        return super()._apply(fn, recurse)

    @property
    def user_tables(self) -> tuple[str, ...]:
        """The names of the parameters that have a row a user."""
        return ("user_embedding",)

    @abstractmethod
    def forward(self) -> Embeddings:
        """The embeddings under the present parameters."""

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """A loss beside the ranking loss, a scalar; None where there is none."""
        return None

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """The squared norms that are penalised."""
        return ()

    def told(self) -> dict[str, Tensor]:
        """Scalars that are worth knowing about the state, by name; a row of a history has them."""
        return {}

    def diagnostics(self) -> dict[str, float]:
        return numbers(self.told())

    def learning_rate(self, epoch: int) -> float:
        """Of epoch 1, 2, ..."""
        return self.config.train.learning_rate

    @property
    def repeatable(self) -> bool:
        """Whether a card may record a step and replay it (`model.replay`): only who says so.

        Every step must read no number from the card, make tensors of the same shapes, and depend on
        nothing that changes between steps but what lies in the same places.
        """
        return False

    def begin_epoch(self) -> None:
        """Renew what is renewed once an epoch."""

    def fit(self, dataset: Dataset, run: Run) -> Fit:
        return Fitter(self, dataset, run).run()

    @torch.no_grad()
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (I, D); under the softmax of cosines items have length 1."""
        self.eval()
        made = self()
        items = made.items.detach()
        if self.cold is not None:
            terms = torch.stack(list(self.new_terms(self.cold[1]).values()))
            items = items.index_copy(0, self.cold[0], terms.sum(0))
        if self.added:
            items = torch.cat([items, torch.stack(list(self.added.values())).sum(0)])
        return made.users.detach(), F.normalize(items) if self.by_cosine else items

    def scorer(self) -> Scorer:
        return InnerProduct(*self.embeddings())

    @torch.no_grad()
    def folding(self) -> Callable[[Interactions], Scorer]:
        items = self.embeddings()[1]
        users_of = self.fold_in(items[: self.n_items])

        @torch.no_grad()
        def scorer(histories: Interactions) -> Scorer:
            # Items that came after fitting have no part in what a user is.
            return InnerProduct(users_of(histories.of_first(self.n_items)), items)

        return scorer

    def fold_in(self, items: Tensor) -> Callable[[Interactions], Tensor]:
        """From histories of b new users, over the fitted items (I, D), to embeddings (b, D)."""
        return lambda histories: folded_users(histories, items, self.constant_users)

    @torch.no_grad()
    def terms(self) -> dict[str, Tensor]:
        self.eval()
        own = self.item_terms()
        if self.cold is not None:
            rows, cold = self.cold[0], self.new_terms(self.cold[1])
            own = {n: term.index_copy(0, rows, cold[n]) for n, term in own.items()}
        if self.added:
            own = {name: torch.cat([term, self.added[name]]) for name, term in own.items()}
        if self.unit_length or self.by_cosine:
            whole = torch.stack(list(own.values())).sum(0)
            lengths = self.embeddings()[1].norm(dim=1, keepdim=True)
            scale = lengths / whole.norm(dim=1, keepdim=True).clamp(min=1e-12)
            own = {name: scale * term for name, term in own.items()}
        return own

    def item_terms(self) -> dict[str, Tensor]:
        """`terms` of the items of the catalogue."""
        return {COLLABORATION: self().items}

    @torch.no_grad()
    def with_items(self, content: Sequence[Modality]) -> Self:
        if not (self.config.options.content and self.means):
            return super().with_items(content)
        known = completed(content, self.means, self.config.train.missing)
        self.eval()
        terms = self.new_terms(known)
        extended = copy.copy(self)
        extended.added = {
            name: torch.cat([self.added[name], term]) if self.added else term
            for name, term in terms.items()
        }
        return extended

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """`terms` of m items that have content alone.

        Args:
            content: all modalities of the catalogue, of the m items (`model.dataset.completed`).

        Raises:
            Unsupported: the system has no formula for them.
        """
        raise Unsupported("it has no formula for items without interactions")

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that gradients move, by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.trained().items()}

    def whole_state(self, share: Share) -> dict[str, Tensor] | None:
        whole: dict[str, Tensor] = {}
        for name, tensor in self.state().items():
            divided = name in self.user_tables
            rows = share.ranks.gathered(tensor, share.counts) if divided else tensor
            if rows is not None:
                whole[name] = rows
        return None if share.ranks.rank else whole

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        trained = self.trained()
        for name, own in self.state_dict().items():
            if name in trained or name in state:
                own.copy_(state[name])

    def constants(self) -> dict[str, Tensor]:
        trained = self.trained()
        return {name: t for name, t in self.state_dict().items() if name not in trained}


Draw = Callable[[Tensor], Tensor]
"""What fills a table in place."""


def xavier_table(*shape: int) -> nn.Parameter:
    """A table drawn Xavier-uniform."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(*shape)))


def user_table(
    train: Interactions, dimension: int, draw: Draw = nn.init.xavier_uniform_
) -> nn.Parameter:
    """(U, d): drawn for every process's users, of which each keeps its own."""
    share = train.share
    table = draw(torch.empty(share.n_users, dimension))
    return nn.Parameter(_own(table, train))


def node_tables(
    train: Interactions, dimension: int, draw: Draw = nn.init.xavier_uniform_
) -> tuple[nn.Parameter, nn.Parameter]:
    """Users (U, d) and items (I, d), drawn as one table; as `user_table`."""
    n_users = train.share.n_users
    table = draw(torch.empty(n_users + train.n_items, dimension))
    return nn.Parameter(_own(table, train)), nn.Parameter(table[n_users:].clone())


def _own(table: Tensor, train: Interactions) -> Tensor:
    first = train.share.first_user
    return table[first : first + train.n_users].clone()
