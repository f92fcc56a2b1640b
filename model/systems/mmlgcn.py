"""MMLGCN: one LightGCN a modality, fused after propagation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import LIGHTGCN, Config, SystemOptions
from model.dataset import Catalogue, Modality
from model.embedding import Embeddings, node_tables
from model.lightgcn import LightGCN
from model.projection import l2norm
from model.ranks import ALONE, Ranks, of_users


@dataclass(frozen=True)
class Options(SystemOptions):
    """`output_layer`: whether W_out of eq. 1 is there."""

    reads = LIGHTGCN | {"train.missing"}
    undivided = ""
    content = True
    without_content = "none"

    output_layer: bool = True


class Mmlgcn(LightGCN):
    """item = [LGCN_1(e_1) W_1 || ... || LGCN_n(e_n) W_n] W_out (eq. 1); users the same.

    The j-th item table starts from modality j, normalised and projected to d at random. Where an
    item lacks it, it starts Xavier-uniform, or as `train.missing` says: from zero, or from the
    modality's mean. The n LightGCNs are trained together, and propagated as one table of width
    n d. W_out is optional (`systems.mmlgcn.output_layer`). Without modalities it is LightGCN.
    """

    fused = False

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        modalities = catalogue.modalities
        if not modalities:
            return
        tables = [node_tables(catalogue.train, d) for _ in modalities]
        self.start = nn.ModuleList()  # what an item starts from, kept for new ones
        for (_, items), modality in zip(tables, modalities, strict=True):
            x = l2norm(modality.filled(config.train.missing))
            self.start.append(nn.Linear(x.shape[1], d).requires_grad_(False))
            start = self.start[-1](x)
            if config.train.missing != "mean":
                absent = torch.zeros_like(items) if config.train.missing == "zero" else items.data
                start = torch.where(modality.present[:, None], start, absent)
            items.data.copy_(start)
        self.user_embedding = nn.Parameter(torch.cat([users for users, _ in tables], dim=1))
        self.item_embedding = nn.Parameter(torch.cat([items for _, items in tables], dim=1))
        self.ranks = catalogue.train.share.ranks
        self.w: Sequence[nn.Linear] = nn.ModuleList(  # type: ignore[assignment]
            nn.Linear(d, d, bias=False) for _ in modalities
        )
        self.w_out: nn.Linear | None = None
        if config.options.output_layer:
            self.w_out = nn.Linear(len(modalities) * d, d, bias=False)
        self.fused = True

    def fuse(self, users: Tensor, items: Tensor) -> Embeddings:
        """Users and items: (U, d) and (I, d), or (U, n d) and (I, n d) without the output layer."""
        if not self.fused:
            return Embeddings(users, items)
        return Embeddings(self._project(users, self.ranks), self._project(items), items)

    def item_terms(self) -> dict[str, Tensor]:
        return self._split(self.collaborative()[1]) if self.fused else super().item_terms()

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """Where items start, without edges; zeros for what they lack."""
        missing = self.config.train.missing
        starts = []
        for start, m in zip(self.start, content, strict=True):
            x = start(l2norm(m.vectors.to(self.item_embedding)))
            has = m.present[:, None].to(x.device)
            starts.append(x if missing == "mean" else x * has)
        return self._split(self.isolated(torch.cat(starts, dim=1)))

    def _split(self, items: Tensor) -> dict[str, Tensor]:
        """What each modality's LightGCN adds, of their (n, I d) side by side."""
        parts = items.chunk(len(self.w), dim=1)
        zeros = torch.zeros_like(parts[0])
        return {
            name: self._project(
                torch.cat([*(zeros,) * j, part, *(zeros,) * (len(parts) - j - 1)], 1)
            )
            for j, (name, part) in enumerate(zip(self.means, parts, strict=True))
        }

    def _project(self, tables: Tensor, ranks: Ranks = ALONE) -> Tensor:
        """Of items; of users, with the processes among which they are divided."""
        parts = tables.chunk(len(self.w), dim=1)
        made = [of_users(w, part, ranks) for w, part in zip(self.w, parts, strict=True)]
        joined = torch.cat(made, dim=1)
        return joined if self.w_out is None else of_users(self.w_out, joined, ranks)
