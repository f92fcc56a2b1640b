"""MMGCN (Wei et al., 2019): a graph network a modality, averaged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import FITTING, Config, Positive, Range, SystemOptions
from model.dataset import Catalogue, Modality
from model.embedding import Embeddings, EmbeddingSystem, node_tables, user_table
from model.graph import mean_graphs
from model.interactions import Interactions
from model.objective import SquaredNorm
from model.projection import counted, l2norm
from model.ranks import ALONE, Ranks, of_users
from model.sampling import Batch
from model.sparse import SparseMatrix, product

IMAGE_WIDTH = 256  # image features go through a linear layer to this width first


@dataclass(frozen=True)
class Options(SystemOptions):
    """The official code's defaults; `regularization` is w, of ids and preferences."""

    reads = FITTING | {"train.missing"}
    undivided = ""
    content = True

    learning_rate: Annotated[float, Positive] = 0.0005
    layers: Annotated[int, Range(1, 100)] = 3
    regularization: Annotated[float, Range(0)] = 0.1


class Mmgcn(EmbeddingSystem):
    """users and items: the mean over modalities of the last layer of each modality's network.

    x^(0) = L2norm([preference_u ; f_i]); then layer by layer
    h = leaky_relu(mean over neighbours of x W), x^ = leaky_relu(L x) + id,
    x = leaky_relu(G [h || x^]). The mean over modalities counts those that the item has; an item
    without any takes the mean over all networks, which its neighbours and its id feed. Ids and
    preferences are trained (in the official code they never move). Without modalities there is no
    network, and the ids alone are matrix factorisation. As in the official code, ids (one draw over
    users and items), preferences, every W and L and the first G start Xavier-normal, the other
    layers as torch's linear layers do.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.options = config.options
        missing = config.train.missing
        items_to_users, users_to_items = mean_graphs(catalogue.train)
        self.all_users = catalogue.train.share.n_users
        drawn = node_tables(catalogue.train, d, nn.init.xavier_normal_)
        self.user_id, self.item_id = drawn
        self.networks: Sequence[_Network] = nn.ModuleList(  # type: ignore[assignment]
            _Network(
                modality.filled(missing),
                catalogue.train,
                items_to_users,
                users_to_items,
                d,
                self.options.layers,
                reduced=modality.name == "image",
            )
            for modality in catalogue.modalities
        )
        counts = counted(catalogue.modalities, missing)
        self.counted: Tensor  # (n, I, 1)
        if len(counts):
            counts = torch.where(counts.sum(0) == 0, 1.0, counts)
        self.register_buffer("counted", counts, persistent=False)

    @property
    def user_tables(self) -> tuple[str, ...]:
        preferences = (f"networks.{n}.preference" for n in range(len(self.networks)))
        return "user_id", *preferences

    def forward(self) -> Embeddings:
        if not len(self.networks):
            return Embeddings(self.user_id, self.item_id)
        outputs = [network(self.user_id, self.item_id) for network in self.networks]
        users = torch.stack([u for u, _ in outputs]).mean(0)
        items = torch.stack([i for _, i in outputs])
        return Embeddings(users, (items * self.counted).sum(0) / self.counted.sum(0))

    def fold_in(self, items: Tensor) -> Callable[[Interactions], Tensor]:
        """By every network's own layers: a new user has no preference and no id, but neighbours."""
        if not len(self.networks):
            return super().fold_in(items)
        layers = [network.layers(self.user_id, self.item_id) for network in self.networks]

        def users_of(histories: Interactions) -> Tensor:
            means = histories.degrees().clamp(min=1).reciprocal()[histories.users]
            pairs = zip(self.networks, layers, strict=True)
            outputs = [n.fold_in([i for _, i in known], histories, means) for n, known in pairs]
            return torch.stack(outputs).mean(0)

        return users_of

    @property
    def repeatable(self) -> bool:
        return True

    def item_terms(self) -> dict[str, Tensor]:
        if not len(self.networks):
            return super().item_terms()
        outputs = [network(self.user_id, self.item_id)[1] for network in self.networks]
        return self._split(outputs, self.counted)

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """Every network without neighbours and without an id."""
        outputs = [
            network.of_new(m.vectors.to(self.item_id.device))
            for network, m in zip(self.networks, content, strict=True)
        ]
        return self._split(outputs, counted(content, self.config.train.missing).to(outputs[0]))

    def _split(self, outputs: Sequence[Tensor], counts: Tensor) -> dict[str, Tensor]:
        shares = counts / counts.sum(0).clamp(min=1)
        return {n: x * share for n, x, share in zip(self.means, outputs, shares, strict=True)}

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """w (mean(id_u^2 + id_i^2) + mean(preference^2)), ids over the batch's pairs (u, i)."""
        w, pairs = self.options.regularization, batch.size * batch.items.shape[1]
        terms = [
            SquaredNorm(table, counts, w / (pairs * table.shape[1]))
            for table, counts in zip((self.user_id, self.item_id), batch.counts, strict=True)
        ]
        for network in self.networks:
            table, every = network.preference, self.user_id.new_ones(self.n_users)
            numbers = self.all_users * table.shape[1] * len(self.networks)
            terms.append(SquaredNorm(table, every, w / numbers))
        return terms if w else ()

    def learning_rate(self, epoch: int) -> float:
        return self.options.learning_rate


class _Network(nn.Module):
    """One modality's layers."""

    def __init__(
        self,
        features: Tensor,
        train: Interactions,
        items_to_users: SparseMatrix,
        users_to_items: SparseMatrix,
        dimension: int,
        layers: int,
        *,
        reduced: bool,
    ) -> None:
        super().__init__()
        width = features.shape[1]
        self.items_to_users, self.users_to_items = items_to_users, users_to_items
        self.features: Tensor
        self.register_buffer("features", features, persistent=False)
        self.reduce: nn.Module = nn.Linear(width, IMAGE_WIDTH) if reduced else nn.Identity()
        width = IMAGE_WIDTH if reduced else width
        self.ranks = train.share.ranks
        self.preference = user_table(train, width, nn.init.xavier_normal_)
        widths = [width] + [dimension] * (layers - 1)
        made = (
            [nn.Linear(w, w, bias=False) for w in widths],
            [nn.Linear(w, dimension) for w in widths],
            [nn.Linear(w + dimension, dimension) for w in widths],
        )
        self.w: Sequence[nn.Linear]
        self.l: Sequence[nn.Linear]
        self.g: Sequence[nn.Linear]
        self.w, self.l, self.g = map(nn.ModuleList, made)  # type: ignore[assignment]
        for layer in (*self.w, *self.l, self.g[0]):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, user_id: Tensor, item_id: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers(user_id, item_id)[-1]

    def layers(self, user_id: Tensor, item_id: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Users and items before every layer, and after the last."""
        users = F.normalize(self.preference)
        items = l2norm(self.reduce(self.features))
        found = [(users, items)]
        for w, l, g in zip(self.w, self.l, self.g, strict=True):  # noqa: E741 (the paper's names)
            h_users = F.leaky_relu(self.items_to_users(w(items)))
            h_items = F.leaky_relu(self.users_to_items(of_users(w, users, self.ranks)))
            x = F.leaky_relu(of_users(l, users, self.ranks)) + user_id
            users = _combine(g, h_users, x, self.ranks)
            items = _combine(g, h_items, F.leaky_relu(l(items)) + item_id)
            found.append((users, items))
        return found

    def fold_in(self, items: Sequence[Tensor], histories: Interactions, means: Tensor) -> Tensor:
        """(b, d) of new users.

        Args:
            items: before every layer.
            means: (e,) 1 over the length of each entry's history.
        """
        users = self.preference.new_zeros(histories.n_users, self.preference.shape[1])
        for w, l, g, x in zip(self.w, self.l, self.g, items, strict=False):  # noqa: E741
            h = F.leaky_relu(product(histories.offsets, histories.items, means, w(x)))
            users = _combine(g, h, F.leaky_relu(l(users)))
        return users

    def of_new(self, features: Tensor) -> Tensor:
        """(m, w) features of items without neighbours and id → (m, d)."""
        items = l2norm(self.reduce(features))
        for w, l, g in zip(self.w, self.l, self.g, strict=True):  # noqa: E741 (the paper's names)
            items = _combine(g, torch.zeros_like(w(items)), F.leaky_relu(l(items)))
        return items


def _combine(g: nn.Linear, h: Tensor, x: Tensor, ranks: Ranks = ALONE) -> Tensor:
    return F.leaky_relu(of_users(g, torch.cat([h, x], dim=1), ranks))
