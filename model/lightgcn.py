"""LightGCN, and the one place where late fusion differs from it: `fuse`."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from model.config import Config
from model.dataset import Catalogue
from model.embedding import Embeddings, EmbeddingSystem, split_table, xavier_table
from model.graph import normalized_graph
from model.objective import SquaredNorm
from model.propagation import layer_weights, propagate, scaled
from model.sampling import Batch


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
        table = xavier_table(self.n_users + self.n_items, train.dimension)
        self.user_embedding, self.item_embedding = split_table(table, self.n_users)

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

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """lambda ||E^(0)[unique nodes]||^2 / B (eq. 9, as PyG's LightGCN takes it)."""
        strength = self.config.train.regularization / len(batch)
        tables = (self.user_embedding, self.item_embedding)
        return [
            SquaredNorm(table, touched, strength)
            for table, touched in zip(tables, batch.touched, strict=True)
            if strength
        ]
