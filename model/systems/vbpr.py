"""VBPR (He and McAuley, 2016): matrix factorisation with content factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from model.config import FITTING, Config, Positive, Range, SystemOptions
from model.dataset import Catalogue, Modality
from model.embedding import COLLABORATION, Embeddings, EmbeddingSystem, user_table, xavier_table
from model.objective import SquaredNorm
from model.sampling import Batch


@dataclass(frozen=True)
class Options(SystemOptions):
    """Cornac's defaults and its scale of the L2 terms: of gamma and theta, b, E and beta'."""

    reads = FITTING | {"train.missing"}
    undivided = ""
    content = True

    learning_rate: Annotated[float, Positive] = 0.005
    regularization: Annotated[float, Range(0)] = 0.01
    bias_regularization: Annotated[float, Range(0)] = 0.01
    content_regularization: Annotated[float, Range(0)] = 0.0


class Vbpr(EmbeddingSystem):
    """s = b_i + gamma_u · gamma_i + theta_u · (E f_i) + beta' · f_i.

    f concatenates the encoders' outputs; an absent modality adds nothing, unless `missing: mean`
    fills it. gamma and theta have `train.dimension` factors each. The score is one inner product:
    users [gamma_u, theta_u, 1], items [gamma_i, E f_i, b_i + beta' · f_i]. Without modalities it
    is biased matrix factorisation. Tables start Xavier-uniform, each drawn on its own; the biases
    start from zero.
    """

    constant_users = 1

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.options = config.options
        self.gamma_users = user_table(catalogue.train, d)
        self.gamma_items = xavier_table(self.n_items, d)
        self.bias = nn.Parameter(torch.zeros(self.n_items))
        filled = [m.filled(config.train.missing) for m in catalogue.modalities]
        self.features: Tensor | None  # f, (I, w)
        self.register_buffer(
            "features", torch.cat(filled, dim=1) if filled else None, persistent=False
        )
        if self.features is not None:
            width = self.features.shape[1]
            self.theta_users = user_table(catalogue.train, d)
            self.content = xavier_table(width, d)  # E^T
            self.content_bias = xavier_table(width, 1)

    @property
    def user_tables(self) -> tuple[str, ...]:
        return ("gamma_users", "theta_users")

    def forward(self) -> Embeddings:
        """Users (U, D) and items (I, D), D = 2 d + 1, or d + 1 without content."""
        users: list[Tensor] = [self.gamma_users]
        items: list[Tensor] = [self.gamma_items]
        bias = self.bias[:, None]
        if self.features is not None:
            users.append(self.theta_users)
            # In one product: that with a single column is cut among the threads along its sums.
            made = self.features @ torch.cat([self.content, self.content_bias], dim=1)
            items.append(made[:, :-1])
            bias = bias + made[:, -1:]
        ones = self.gamma_users.new_ones(self.n_users, 1)
        return Embeddings(torch.cat([*users, ones], dim=1), torch.cat([*items, bias], dim=1))

    @property
    def repeatable(self) -> bool:
        return True

    def item_terms(self) -> dict[str, Tensor]:
        factors, bias = self.gamma_items, self.bias[:, None]
        parts = [] if self.features is None else self.features.split(self._widths(), dim=1)
        return self._split(factors, bias, parts)

    def new_terms(self, content: Sequence[Modality]) -> dict[str, Tensor]:
        """Content alone: no factors, no bias of their own."""
        parts = [m.vectors.to(self.bias.device) for m in content]
        nothing = self.gamma_items.new_zeros(len(parts[0]), self.gamma_items.shape[1] + 1)
        return self._split(nothing[:, :-1], nothing[:, -1:], parts)

    def _split(self, factors: Tensor, bias: Tensor, parts: Sequence[Tensor]) -> dict[str, Tensor]:
        d, n = factors.shape[1], len(factors)
        width = 2 * d + 1 if parts else d + 1

        def row(start: int, values: Tensor, last: Tensor) -> Tensor:
            made = factors.new_zeros(n, width)
            made[:, start : start + values.shape[1]] = values
            made[:, -1:] = last
            return made

        terms = {COLLABORATION: row(0, factors, bias)}
        if parts:
            weights = self.content.split(self._widths())
            biases = self.content_bias.split(self._widths())
            for name, x, w, b in zip(self.means, parts, weights, biases, strict=True):
                terms[name] = row(d, x @ w, x @ b)
        return terms

    def _widths(self) -> list[int]:
        return [len(mean) for mean in self.means.values()]

    def penalty(self, batch: Batch) -> Sequence[SquaredNorm]:
        """The L2 terms of tables, a mean over the batch's triples (u, i, j) like the ranking loss.

        lambda/2 (||gamma_u||^2 + ||theta_u||^2 + ||gamma_i||^2 + ||gamma_j||^2)
        + lambda_b/2 (b_i^2 + b_j^2 / 10).
        """
        o, n = self.options, batch.items.shape[1] - 1
        users, items = batch.counts
        edges, negatives = users / (1 + n), (items - batch.positives) / n
        strength, of_bias = (
            weight / (2 * batch.size) for weight in (o.regularization, o.bias_regularization)
        )
        terms = [
            SquaredNorm(self.gamma_users, edges, strength),
            SquaredNorm(self.gamma_items, batch.positives + negatives, strength),
            SquaredNorm(self.bias, batch.positives + negatives / 10, of_bias),
        ]
        if self.features is not None:
            terms.append(SquaredNorm(self.theta_users, edges, strength))
        return [term for term in terms if term.strength]

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor | None:
        """That of the content's weights, once a batch: lambda_e/2 (||E||^2 + ||beta'||^2) / B."""
        strength = self.options.content_regularization
        if self.features is None or not strength:
            return None
        squares = self.content.square().sum() + self.content_bias.square().sum()
        return strength * squares / (2 * batch.size)

    def learning_rate(self, epoch: int) -> float:
        return self.options.learning_rate
