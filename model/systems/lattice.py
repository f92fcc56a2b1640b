"""LATTICE (Zhang et al., 2021): LightGCN plus a learned graph between items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import FITTING, LAYERS, Config, OneOf, Positive, Range, SystemOptions
from model.dataset import Catalogue
from model.embedding import Embeddings, EmbeddingSystem, xavier_table
from model.graph import degrees, pattern_of
from model.projection import counted, l2norm
from model.sampling import Batch
from model.sparse import Pattern, SparseMatrix, inner_products, multiply

SMALLEST_ROW_SUM = 1e-7


@dataclass(frozen=True)
class Options(SystemOptions):
    """The official code's defaults; the learned graph follows every step (`rebuild`)."""

    reads = FITTING | {"train.missing"}
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
        self.user_embedding = xavier_table(self.n_users, config.train.dimension)
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
        self.graphs: Sequence[_ItemGraph] = nn.ModuleList(  # type: ignore[assignment]
            _ItemGraph(
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
        weights = self.counted[:, :, 0]  # (n, I)
        if len(self.graphs) > 1:
            weights = weights * self.logits.softmax(0)[:, None]
            weights = weights / weights.sum(0).clamp(min=SMALLEST_ROW_SUM)
        anew = self.options.rebuild == "step" or not self.training
        learned = [graph.learned(anew) for graph in self.graphs]
        weighed = [w[pattern.rows] * s for w, (pattern, s) in zip(weights, learned, strict=True)]
        row_sums = torch.stack(
            [
                multiply(pattern, s, s.new_ones(self.n_items, 1))[:, 0]
                for (pattern, _), s in zip(learned, weighed, strict=True)
            ]
        ).sum(0)
        scale = row_sums.clamp(min=SMALLEST_ROW_SUM).rsqrt()[:, None]
        h = scale * sum(
            multiply(pattern, s, scale * dense)
            for (pattern, _), s in zip(learned, weighed, strict=True)
        )
        frozen = sum(
            w[:, None] * graph.frozen(dense) for w, graph in zip(weights, self.graphs, strict=True)
        )
        return (1 - self.options.frozen_weight) * h + self.options.frozen_weight * frozen

    def _collaborative(self) -> tuple[Tensor, Tensor]:
        u: Tensor = self.user_embedding
        i: Tensor = self.item_embedding
        users, items = [u], [i]
        for _ in range(self.options.layers):
            u, i = (
                self.items_to_users(i) + self.user_loop * u,
                self.users_to_items(u) + self.item_loop * i,
            )
            users.append(u)
            items.append(i)
        return torch.stack(users).mean(0), torch.stack(items).mean(0)

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """strength/2 (||u||^2 + ||p||^2 + ||n||^2) of the final embeddings, a mean over triples."""
        item_squares = F.embedding(batch.items, embeddings.items).square().sum((0, 2))  # (1 + n,)
        squares = F.embedding(batch.users, embeddings.users).square().sum()
        squares = squares + item_squares[0] + item_squares[1:].mean()
        return self.options.regularization * squares / (2 * len(batch))

    def begin_epoch(self) -> None:
        for graph in self.graphs:
            graph.renew()

    def learning_rate(self, epoch: int) -> float:
        """The official schedule: times `decay` every 50 epochs, continuously; 1 at epoch 1."""
        return self.options.learning_rate * self.options.decay ** ((epoch - 1) / 50)


class _ItemGraph(nn.Module):
    """One modality's two graphs between items."""

    def __init__(self, features: Tensor, present: Tensor, dimension: int, neighbors: int) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.features: Tensor
        self.present: Tensor
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("present", present, persistent=False)
        self.transform = nn.Linear(features.shape[1], dimension)
        unit = l2norm(features)
        pattern = nearest(unit, present, neighbors)
        similarities = inner_products(pattern, unit, unit).clamp(min=0)
        row_sums = features.new_zeros(len(features)).index_add_(0, pattern.rows, similarities)
        scale = row_sums.clamp(min=SMALLEST_ROW_SUM).rsqrt()
        self.frozen = SparseMatrix(
            pattern, scale[pattern.rows] * similarities * scale[pattern.columns]
        )
        self.pattern: Pattern | None = None

    def renew(self) -> None:
        """Forget the neighbours, so that they are sought again."""
        self.pattern = None

    def learned(self, anew: bool) -> tuple[Pattern, Tensor]:
        """The k-NN pattern and its similarities (E,), differentiable in the transform.

        The neighbours are sought where `anew` says so, else kept until `renew`.
        """
        unit = l2norm(self.transform(self.features))
        pattern = self.pattern
        if anew or pattern is None:
            pattern = nearest(unit.detach(), self.present, self.neighbors)
        if not anew:
            self.pattern = pattern
        # Below zero there is no similarity to spread; row sums stay positive (1 with itself).
        return pattern, inner_products(pattern, unit, unit).clamp(min=0)


@torch.no_grad()
def nearest(unit: Tensor, present: Tensor, k: int, cells: int = 1 << 24) -> Pattern:
    """Every present item's k most similar present items by cosine, itself among them.

    Args:
        unit: (I, w) with rows of length 1.
        present: (I,) bool; the others have no neighbours and are nobody's.
        k: how many; fewer where fewer are present.
        cells: the most similarities held at a time.
    """
    rows = present.nonzero()[:, 0]
    candidates = unit[rows]
    k = min(k, len(rows))
    found = []
    for block in torch.arange(len(rows), device=rows.device).split(
        max(1, cells // max(1, len(rows)))
    ):
        similarities = candidates[block] @ candidates.T
        similarities[torch.arange(len(block), device=rows.device), block] = torch.inf  # itself
        found.append(similarities.topk(k, dim=1).indices)
    columns = rows[torch.cat(found)] if found else rows.new_empty(0, 0)
    return Pattern.of(rows.repeat_interleave(k), columns.flatten(), (len(unit), len(unit)))
