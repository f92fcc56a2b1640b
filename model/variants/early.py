"""EF-MMLGCN: modalities fused with one another first, then with the collaborative embedding."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.aggregate import aggregate_of
from model.config import Config
from model.features import Projection
from model.lightgcn import LightGCN
from model.losses import info_nce
from model.recommender import Catalogue
from model.sampling import Batch


class Early(LightGCN):
    """item = [e || AGG(x_1 W_1, ..., x_n W_n) W_agg] W_out (eq. 3).

    The encoders' x_j are frozen, every W is trained, dropout falls on what W_agg and W_out
    multiply. To BPR it adds `contrast` x symmetric NCE between e and the fused content, over the
    unique items of a batch that have content. The paper leaves dropout, weight, temperature and
    pairing open (`systems.early`). Without modalities it is LightGCN.
    """

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.options = config.systems.early
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

    def forward(self) -> tuple[Tensor, Tensor]:
        users, e = self.collaborative()
        self._contrasted = None
        if not len(self.projection):
            return users, e
        counted = self.projection.counted  # (n, I, 1)
        fused = self.aggregate(self.projection(), counted)
        content = self.w_agg(self.dropout(fused)) * counted.amax(0)
        self._contrasted = e, content
        items: Tensor = self.w_out(self.dropout(torch.cat([e, content], dim=1)))
        return users, items

    def auxiliary_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor | None:
        """Of the last `forward`."""
        terms = []
        touched = batch.touched[1]
        if (optional := self.projection.auxiliary_loss(touched)) is not None:
            terms.append(optional)
        if self._contrasted is not None and self.options.contrast:
            rows = (touched & (self.projection.has.amax(0)[:, 0] > 0)).nonzero()[:, 0]
            e, content = (F.embedding(rows, table) for table in self._contrasted)
            if len(rows):
                terms.append(self.options.contrast * info_nce(e, content, self.options.temperature))
        return torch.stack(terms).sum() if terms else None
