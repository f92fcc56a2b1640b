"""VBPR (He and McAuley, 2016): matrix factorisation with content factors."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import Config
from model.recommender import Catalogue, Recommender, xavier_tables
from model.sampling import Batch


class Vbpr(Recommender):
    """s = b_i + gamma_u · gamma_i + theta_u · (E f_i) + beta' · f_i.

    f concatenates the encoders' outputs; an absent modality adds nothing, unless `missing: mean`
    fills it. gamma and theta have `train.dimension` factors each. The score is one inner product:
    users [gamma_u, theta_u, 1], items [gamma_i, E f_i, b_i + beta' · f_i]. Without modalities it
    is biased matrix factorisation.
    """

    layered = False

    def __init__(self, catalogue: Catalogue, config: Config) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.options = config.train.vbpr
        self.gamma_users, self.gamma_items = xavier_tables(self.n_users, self.n_items, d)
        self.bias = nn.Parameter(torch.zeros(self.n_items))
        filled = [m.filled(config.train.missing) for m in catalogue.modalities]
        self.features: Tensor | None  # f, (I, w)
        self.register_buffer(
            "features", torch.cat(filled, dim=1) if filled else None, persistent=False
        )
        if self.features is not None:
            width = self.features.shape[1]
            self.theta_users = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_users, d)))
            self.content = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, d)))  # E^T
            self.content_bias = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, 1)))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Users (U, D) and items (I, D), D = 2 d + 1, or d + 1 without content."""
        users: list[Tensor] = [self.gamma_users]
        items: list[Tensor] = [self.gamma_items]
        bias = self.bias[:, None]
        if self.features is not None:
            users.append(self.theta_users)
            items.append(self.features @ self.content)
            bias = bias + self.features @ self.content_bias
        ones = self.gamma_users.new_ones(self.n_users, 1)
        return torch.cat([*users, ones], dim=1), torch.cat([*items, bias], dim=1)

    def auxiliary_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor | None:
        """The L2 terms of every triple over B; a negative's bias counts a tenth."""
        o = self.options
        factors = [F.embedding(batch.users, self.gamma_users)]
        factors += [F.embedding(batch.items[:, c], self.gamma_items) for c in (0, 1)]
        if self.features is not None:
            factors.append(F.embedding(batch.users, self.theta_users))
        squares = torch.stack([f.square().sum() for f in factors]).sum()
        biases = F.embedding(batch.items, self.bias[:, None])[..., 0].square().sum(0)  # (1 + n,)
        total = o.regularization * squares
        total = total + o.bias_regularization * (biases[0] + biases[1] / 10)
        if self.features is not None and o.content_regularization:
            content = self.content.square().sum() + self.content_bias.square().sum()
            total = total + o.content_regularization * content
        return total / len(batch)

    def learning_rate(self, epoch: int) -> float:
        return self.options.learning_rate
