"""LightGCN, and the one place where late fusion differs from it: `fuse`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from model.config import Config
from model.dataset import Catalogue
from model.embedding import Embeddings, EmbeddingSystem, node_tables
from model.folding import folded_users
from model.graph import edge_weights, normalized_graph
from model.interactions import Interactions
from model.objective import SquaredNorm
from model.propagation import layer_weights, propagate, scaled
from model.sampling import Batch
from model.sparse import product


class LightGCN(EmbeddingSystem):
    """E^(0), propagation and layer combination (eq. 4-7); subclasses fuse content into the items.

    Users are never fused.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        super().__init__(catalogue, config)
        train = config.train
        self.published = config.propagation == "published"
        self.layer_weights: tuple[float, ...] = ()
        if not self.published:
            self.layer_weights = layer_weights(train.layer_weights, config.layers)
        if len(self.layer_weights) > 1:
            self.graph = normalized_graph(catalogue.train, train.user_exponent, train.item_exponent)
        # One draw over both, as PyG's LightGCN.
        self.user_embedding, self.item_embedding = node_tables(catalogue.train, train.dimension)

    def forward(self) -> Embeddings:
        """Users (U, d) and items (I, d); the score of (u, i) is their inner product (eq. 8)."""
        users, items = self.collaborative()
        fused = self.fuse(users, items)
        return fused.of_collaborative_lengths() if self.unit_length else fused

    def collaborative(self) -> tuple[Tensor, Tensor]:
        """The propagated embeddings of users (U, d) and items (I, d)."""
        users, items = self.user_embedding, self.item_embedding
        if self.published:
            # The published code's edges ran one way only, so every message vanished.
            return users / (self.config.layers + 1), items / (self.config.layers + 1)
        if len(self.layer_weights) == 1:
            return scaled(users, items, self.layer_weights[0])
        return propagate(self.graph, users, items, self.layer_weights)

    def fuse(self, users: Tensor, items: Tensor) -> Embeddings:
        """Content into the collaborative items (I, d); LightGCN alone has none."""
        return Embeddings(users, items)

    @property
    def repeatable(self) -> bool:
        return True

    def fold_in(self, items: Tensor) -> Callable[[Interactions], Tensor]:
        r"""By propagation, \sum_{k=1}^K a_k of eq. 4 over their edges, then by BPR.

        The user is one more node of the graph; what the others are is not changed by that. BPR
        gives what E^(0)_u would add (measured in benchmarks/RESULTS.md).
        """
        if len(self.layer_weights) < 2:
            return super().fold_in(items)
        messages = self._messages()

        def users_of(histories: Interactions) -> Tensor:
            weights = self._weights(histories)
            sent = product(histories.offsets, histories.items, weights, messages)
            return folded_users(histories, items, start=sent)

        return users_of

    @torch.no_grad()
    def carriers(self) -> Callable[[Tensor, int], Tensor] | None:
        """By way of the user's neighbours; what is left of the score is the user's own E^(0)."""
        if len(self.layer_weights) < 2:
            return None
        messages, items = self._messages(), self.embeddings()[1]

        def carried(history: Tensor, item: int) -> Tensor:
            known = history < self.n_items
            one = Interactions.of(torch.zeros_like(history[known]), history[known], 1, self.n_items)
            sums = messages.new_zeros(self.n_items)
            sums[one.items] = self._weights(one) * (messages[one.items] @ items[item])
            return torch.where(known, sums[history.clamp(max=self.n_items - 1)], 0.0)

        return carried

    def _weights(self, histories: Interactions) -> Tensor:
        """(e,) the entries of R̂ that new users' edges have; items keep their degrees."""
        train, item_degrees = self.config.train, self.graph.pattern.transposed_offsets.diff()
        weights = edge_weights(histories, item_degrees, train.user_exponent, train.item_exponent)
        return weights.float()

    def _messages(self) -> Tensor:
        r"""(I, D) \sum_{k=1}^K a_k E_i^(k-1): what an item sends its users in all layers.

        In the space of the users' embeddings, which is the items' by a linear map, if any.
        """
        weights = self.layer_weights[1:]
        users, items = self.user_embedding, self.item_embedding
        if len(weights) == 1:
            sent = scaled(users, items, weights[0])[1]
        else:
            sent = propagate(self.graph, users, items, weights)[1]
        return self.fuse(sent, items).users.detach()

    def isolated(self, table: Tensor) -> Tensor:
        """What propagation makes of E^(0) (n, d) of nodes without edges."""
        return table * (
            self.layer_weights[0] if self.layer_weights else 1 / (self.config.layers + 1)
        )

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """lambda ||E^(0)[unique nodes]||^2 / B (eq. 9, as PyG's LightGCN takes it)."""
        strength = self.config.train.regularization / batch.size
        tables = (self.user_embedding, self.item_embedding)
        return [
            SquaredNorm(table, touched, strength)
            for table, touched in zip(tables, batch.touched, strict=True)
            if strength
        ]
