"""EF-MMLGCN: modalities fused with one another first, then with the collaborative embedding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from model.aggregate import aggregate_of, split
from model.chosen import Chosen
from model.config import LIGHTGCN, PROJECTED, Config, Positive, Range, SystemOptions
from model.dataset import Catalogue, Modality
from model.embedding import COLLABORATION, CONSTANT, Embeddings
from model.lightgcn import LightGCN
from model.losses import info_nce
from model.projection import Projection
from model.sampling import Batch


@dataclass(frozen=True)
class Options(SystemOptions):
    """What the paper leaves open: `contrast` weighs the symmetric NCE."""

    reads = LIGHTGCN | PROJECTED | {"aggregate"}
    undivided = ""
    content = True
    fuses = True
    without_content = "none"
    unread = (("contrast", 0, frozenset({"temperature"})),)

    dropout: Annotated[float, Range(0, 0.99)] = 0.1
    contrast: Annotated[float, Range(0)] = 0.1
    temperature: Annotated[float, Positive] = 0.1


class Early(LightGCN):
    """item = [e || AGG(x_1 W_1, ..., x_n W_n) W_agg] W_out (eq. 3).

    The encoders' x_j are frozen, every W is trained, dropout falls on what W_agg and W_out
    multiply. To BPR it adds `contrast` x symmetric NCE between e and the fused content, over the
    unique items of a batch that have content. The paper leaves dropout, weight, temperature and
    pairing open (`systems.early`). Without modalities it is LightGCN.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.options = config.options
        self.projection = Projection(
            catalogue.modalities,
            d,
            learned=True,
            missing=config.train.missing,
            content=config.train.content,
        )
        if len(self.projection):
            self.aggregate = aggregate_of(config.aggregate, len(self.projection), d)
            self.w_agg = nn.Linear(d, d)
            self.w_out = nn.Linear(2 * d, d)
            self.dropout = nn.Dropout(self.options.dropout)

    def fuse(self, users: Tensor, items: Tensor) -> Embeddings:
        if not len(self.projection):
            return Embeddings(users, items)
        counted, content = self.projection.counted, self.projection()  # (n, I, 1)
        aggregated = self.aggregate(content, counted)
        fused = self.w_agg(self.dropout(aggregated)) * counted.amax(0)
        out: Tensor = self.w_out(self.dropout(torch.cat([items, fused], dim=1)))
        return Embeddings(users, out, items, content, fused)

    def item_terms(self) -> dict[str, Tensor]:
        if not len(self.projection):
            return super().item_terms()
        return self._split(self.collaborative()[1], self.projection(), self.projection.counted)

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        made, counted = self.projection.of_new(content)
        return self._split(torch.zeros_like(made[0]), made, counted)

    def _split(self, e: Tensor, content: Sequence[Tensor], counted: Tensor) -> dict[str, Tensor]:
        """What e and each m_j add to [e || AGG W_agg] W_out, and its biases."""
        of_e, of_fused = self.w_out.weight.chunk(2, dim=1)
        to_out = self.w_agg.weight.T @ of_fused.T  # (d, d)
        shares, constant = split(self.aggregate, content, counted)
        has = counted.amax(0)
        bias = self.w_agg.bias if constant is None else self.w_agg(constant)
        terms = [(share * has) @ to_out for share in shares]
        named = dict(zip([COLLABORATION, *self.means], [e @ of_e.T, *terms], strict=True))
        return named | {CONSTANT: has * (bias @ of_fused.T) + self.w_out.bias}

    @property
    def repeatable(self) -> bool:
        return not (self.options.contrast or self.projection.selects)

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """`contrast` x symmetric NCE between e and the fused content, and the projection's own."""
        terms = []
        touched, most = batch.touched[1], batch.most_items
        if (optional := self.projection.auxiliary(embeddings.content, touched, most)) is not None:
            terms.append(optional)
        e, fused = embeddings.collaborative, embeddings.fused
        if e is not None and fused is not None and self.options.contrast:
            chosen = Chosen.of(touched & (self.projection.has.amax(0)[:, 0] > 0), most)
            if len(chosen):
                pair = chosen.of_table(e), chosen.of_table(fused)
                loss = info_nce(*pair, self.options.temperature, chosen.counts)
                terms.append(self.options.contrast * loss)
        return torch.stack(terms).sum() if terms else None
