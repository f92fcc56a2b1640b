"""LightGCN, and the one place where late fusion differs from it: `fuse`."""

from torch import Tensor

from model.config import Config
from model.graph import normalized_graph
from model.propagation import layer_weights, propagate
from model.recommender import (
    Catalogue,
    Recommender,
    regularize_rows,
    split_table,
    xavier_table,
)
from model.sampling import Batch


class LightGCN(Recommender):
    """E^(0), propagation and layer combination (eq. 4-7); subclasses fuse content into the items.

    Users are never fused.
    """

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__(catalogue, config)
        train = config.train
        self.graph = normalized_graph(catalogue.train, train.user_exponent, train.item_exponent)
        # One draw over both, as PyG's LightGCN.
        table = xavier_table(self.n_users + self.n_items, train.dimension)
        self.user_embedding, self.item_embedding = split_table(table, self.n_users)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users (U, d) and items (I, d); the score of (u, i) is their inner product (eq. 8)."""
        users, items = self.collaborative()
        return users, self.fuse(items)

    def collaborative(self) -> tuple[Tensor, Tensor]:
        """The propagated embeddings of users (U, d) and items (I, d)."""
        users, items = self.user_embedding, self.item_embedding
        if self.config.propagation == "published":
            # The published code's edges ran one way only, so every message vanished.
            return users / (self.config.layers + 1), items / (self.config.layers + 1)
        weights = layer_weights(self.config.train.layer_weights, self.config.layers)
        return propagate(self.graph, users, items, weights)

    def fuse(self, items: Tensor) -> Tensor:
        """Collaborative items (I, d) → fused items (I, d); LightGCN alone changes nothing."""
        return items

    def regularize(self, batch: Batch) -> None:
        """lambda ||E^(0)[unique nodes]||^2 / B (eq. 9, as PyG's LightGCN takes it)."""
        strength = self.config.train.regularization / len(batch)
        if strength:
            tables = (self.user_embedding, self.item_embedding)
            for table, touched in zip(tables, batch.touched, strict=True):
                regularize_rows(table, touched, strength)
