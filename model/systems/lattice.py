"""LATTICE (Zhang et al., 2021): LightGCN plus a learned graph between items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import FITTING, LAYERS, Config, OneOf, Positive, Range, SystemOptions
from model.dataset import Catalogue, Modality
from model.embedding import COLLABORATION, Embeddings, EmbeddingSystem, user_table, xavier_table
from model.graph import degrees, pattern_of
from model.interactions import Interactions
from model.item_graph import SMALLEST_ROW_SUM, ItemGraph
from model.projection import counted
from model.propagation import columns_at_once, combine, layer_weights
from model.sampling import Batch
from model.sparse import Pattern, SparseMatrix, multiply, product


@dataclass(frozen=True)
class Options(SystemOptions):
    """The official code's defaults; the learned graph follows every step (`rebuild`)."""

    reads = FITTING | {"train.missing"}
    undivided = ""
    content = True

    learning_rate: Annotated[float, Positive] = 0.0005
    decay: Annotated[float, Range(0, 1, above=True)] = 0.96
    layers: Annotated[int, LAYERS] = 2
    neighbors: Annotated[int, Range(1)] = 10
    feature_dimension: Annotated[int, Range(1)] = 64
    frozen_weight: Annotated[float, Range(0, 1)] = 0.9
    rebuild: Annotated[str, OneOf(("step", "epoch"))] = "step"
    regularization: Annotated[float, Range(0)] = 1e-5


class Lattice(EmbeddingSystem):
    r"""item = collaborative + L2norm(A E_items).

    Each modality m has two graphs of every item's k most similar ones by cosine, itself included:
    a frozen one S~_m of the raw features, normalised, and a learned one S_m of W_m x_m.
    A = (1 - lambda) norm(\sum_m w_m S_m) + lambda \sum_m w_m S~_m, norm(S) = D^-1/2 S D^-1/2 with
    row sums D, w = softmax over modalities, per item over those it has. The collaborative part is
    the mean over layers of (D^-1 (A_ui + I))^k E. An item without content keeps it alone, as does
    every item without modalities.

    The official code rebuilds the learned graph on the first batch of an epoch, detaches it for the
    rest, and rebuilds it for an evaluation. Here it follows every step; `rebuild: epoch` keeps an
    epoch's neighbours while training, and still learns their similarities. Both tables of E start
    Xavier-uniform.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        self.options = config.options
        self.user_embedding = user_table(catalogue.train, config.train.dimension)
        self.item_embedding = xavier_table(self.n_items, config.train.dimension)
        user_degrees, item_degrees = degrees(catalogue.train)
        pattern = pattern_of(catalogue.train)
        users, items = catalogue.train.users, catalogue.train.items
        # D^-1 of the graph with self-loops.
        user_scale = (1 / (user_degrees + 1)).float()
        item_scale = (1 / (item_degrees + 1)).float()
        self.items_to_users = SparseMatrix(pattern, user_scale[users])
        self.users_to_items = SparseMatrix(pattern.T, item_scale[items][pattern.order])
        self.user_loop: Tensor
        self.item_loop: Tensor
        self.register_buffer("user_loop", user_scale[:, None], persistent=False)
        self.register_buffer("item_loop", item_scale[:, None], persistent=False)

        missing = config.train.missing
        self.counted: Tensor  # (n, I, 1)
        self.register_buffer("counted", counted(catalogue.modalities, missing), persistent=False)
        if self.cold is not None:  # as items that come later, they are in nobody's graphs yet
            self.counted[:, self.cold[0]] = 0
        self.graphs: Sequence[ItemGraph] = nn.ModuleList(  # type: ignore[assignment]
            ItemGraph(
                modality.filled(missing),
                self.counted[j, :, 0] > 0,
                self.options.feature_dimension,
                self.options.neighbors,
            )
            for j, modality in enumerate(catalogue.modalities)
        )
        if len(self.graphs) > 1:
            self.logits = nn.Parameter(torch.zeros(len(self.graphs)))

    def forward(self) -> Embeddings:
        users, items = self._collaborative()
        if len(self.graphs):
            items = items + F.normalize(self.propagate_items(self.item_embedding))
        return Embeddings(users, items)

    def propagate_items(self, dense: Tensor) -> Tensor:
        """A · dense: (I, d) → (I, d)."""
        weights, share = self._weights(self.counted), self.options.frozen_weight
        learned, scale = self._learned(weights)
        parts = []
        # Scaling a graph's entries is cheaper than scaling what it is multiplied by.
        for (pattern, s), graph, w in zip(learned, self.graphs, weights, strict=True):
            ends = _at(pattern.rows, scale[:, 0]) * _at(pattern.columns, scale[:, 0])
            parts.append(multiply(pattern, (1 - share) * ends * s, dense))
            frozen = graph.frozen.pattern
            parts.append(multiply(frozen, share * _at(frozen.rows, w) * graph.frozen.values, dense))
        return torch.stack(parts).sum(0) if len(parts) > 2 else parts[0] + parts[1]

    def _weights(self, counted: Tensor) -> Tensor:
        """(n, I) w_m of every item, of (n, I, 1) what it has."""
        weights = counted[:, :, 0]
        if len(self.graphs) > 1:
            weights = weights * self.logits.softmax(0)[:, None]
            weights = weights / weights.sum(0).clamp(min=SMALLEST_ROW_SUM)
        return weights

    def _learned(self, weights: Tensor) -> tuple[list[tuple[Pattern, Tensor]], Tensor]:
        """Each w_m S_m, pattern and values (E,), and (I, 1) D^-1/2 of their sum."""
        anew = self.options.rebuild == "step" or not self.training
        found = [graph.learned(anew) for graph in self.graphs]
        weighed = [(p, _at(p.rows, w) * s) for w, (p, s) in zip(weights, found, strict=True)]
        row_sums = torch.stack(
            [multiply(pattern, s, s.new_ones(self.n_items, 1))[:, 0] for pattern, s in weighed]
        ).sum(0)
        return weighed, row_sums.clamp(min=SMALLEST_ROW_SUM).rsqrt()[:, None]

    @property
    def repeatable(self) -> bool:
        return True

    def fold_in(self, items: Tensor) -> Callable[[Interactions], Tensor]:
        """By propagation: the mean over layers of a new user's (D^-1 (A_ui + I))^k E, E_u = 0."""
        if not self.options.layers:
            return super().fold_in(items)
        with torch.no_grad():
            layers = self._layers()[:-1]

        def users_of(histories: Interactions) -> Tensor:
            scale = 1 / (histories.degrees() + 1).float()
            u = layers[0][0].new_zeros(histories.n_users, layers[0][0].shape[1])
            users = [u]
            for _, i in layers:
                sums = product(histories.offsets, histories.items, scale[histories.users], i)
                u = sums + scale[:, None] * u
                users.append(u)
            return torch.stack(users).mean(0)

        return users_of

    def item_terms(self) -> dict[str, Tensor]:
        terms = {COLLABORATION: self._collaborative()[1]}
        if len(self.graphs):
            dense, weights = self.item_embedding, self._weights(self.counted)
            learned, scale = self._learned(weights)
            h = [scale * multiply(pattern, s, scale * dense) for pattern, s in learned]
            frozen = [
                w[:, None] * g.frozen(dense) for w, g in zip(weights, self.graphs, strict=True)
            ]
            terms |= self._split(h, frozen)
        return terms

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """L2norm(A E), the new items' rows of A: their nearest in the catalogue, and themselves."""
        dense = self.item_embedding
        weights = self._weights(counted(content, self.config.train.missing).to(dense))
        near = [
            graph.near(m.vectors.to(dense), w > 0)
            for graph, m, w in zip(self.graphs, content, weights, strict=True)
        ]
        _, scale = self._learned(self._weights(self.counted))
        row_sums = torch.stack([w * n.learned_sums for w, n in zip(weights, near, strict=True)])
        own = row_sums.sum(0).clamp(min=SMALLEST_ROW_SUM).rsqrt()[:, None]
        h = [
            own * w[:, None] * n.learned(scale * dense) for w, n in zip(weights, near, strict=True)
        ]
        frozen = [w[:, None] * n.frozen(dense) for w, n in zip(weights, near, strict=True)]
        return {COLLABORATION: torch.zeros_like(h[0])} | self._split(h, frozen)

    def _split(self, h: Sequence[Tensor], frozen: Sequence[Tensor]) -> dict[str, Tensor]:
        """What each modality's graphs add to L2norm(A E)."""
        share = self.options.frozen_weight
        rows = [(1 - share) * a + share * b for a, b in zip(h, frozen, strict=True)]
        length = torch.stack(rows).sum(0).norm(dim=1, keepdim=True).clamp(min=1e-12)
        return {name: row / length for name, row in zip(self.means, rows, strict=True)}

    def _collaborative(self) -> tuple[Tensor, Tensor]:
        weights = layer_weights((), self.options.layers)
        if len(weights) == 1:
            return self.user_embedding, self.item_embedding
        tables = self.user_embedding, self.item_embedding
        at_once = columns_at_once(self.items_to_users, self.item_embedding.shape[1])
        return combine(self._layer, self._transposed_layer, *tables, weights, at_once)

    def _layer(self, u: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
        """D^-1 (A_ui + I) E."""
        return (
            self.items_to_users.times(i).addcmul_(self.user_loop, u),
            self.users_to_items.times(u).addcmul_(self.item_loop, i),
        )

    def _transposed_layer(self, u: Tensor, i: Tensor) -> tuple[Tensor, Tensor]:
        return (
            self.users_to_items.transposed_times(i).addcmul_(self.user_loop, u),
            self.items_to_users.transposed_times(u).addcmul_(self.item_loop, i),
        )

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        u: Tensor = self.user_embedding
        i: Tensor = self.item_embedding
        found = [(u, i)]
        for _ in range(self.options.layers):
            u, i = self._layer(u, i)
            found.append((u, i))
        return found

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """strength/2 (||u||^2 + ||p||^2 + ||n||^2) of the final embeddings, a mean over triples."""
        item_squares = (
            F.embedding(batch.items, batch.shared(embeddings.items)).square().sum((0, 2))
        )  # (1 + n,)
        squares = F.embedding(batch.users, embeddings.users).square().sum()
        squares = squares + item_squares[0] + item_squares[1:].mean()
        return self.options.regularization * squares / (2 * batch.size)

    def begin_epoch(self) -> None:
        if self.options.rebuild == "epoch":
            for graph in self.graphs:
                graph.renew()

    def learning_rate(self, epoch: int) -> float:
        """The official schedule: times `decay` every 50 epochs, continuously; 1 at epoch 1."""
        return self.options.learning_rate * self.options.decay ** ((epoch - 1) / 50)


def _at(rows: Tensor, values: Tensor) -> Tensor:
    """(e,) `values` (n,) at `rows`; unlike that of indexing, its backward adds in one order."""
    return F.embedding(rows, values[:, None])[:, 0]
