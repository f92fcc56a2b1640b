"""Modality embeddings on their way into the collaborative space (eq. 11)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MISSING_POLICIES = ("skip", "zero", "mean")


@dataclass(frozen=True)
class Modality:
    """One modality's encoder output over all items.

    Attributes:
        name: text, image, audio, video, ...
        vectors: (I, w) float32; rows of items that lack it hold zeros.
        present: (I,) bool, which items have it.
    """

    name: str
    vectors: Tensor
    present: Tensor


class Projection(nn.Module):
    r"""m_j = L2norm(x_j) W_j + b_j for every modality j (eq. 11).

    With projection `fixed`, W_j is drawn once and m_j is a table, as in the published code; with
    `learned`, W_j and b_j are trained. `trained_tables` makes the tables themselves parameters:
    the m_j when W_j is fixed, the x_j when it is learned.

    An item that lacks a modality follows `missing`: `skip` leaves it out of the aggregation,
    `zero` counts a zero vector, `mean` counts the mean of the modality's present vectors.
    """

    def __init__(
        self,
        modalities: list[Modality],
        dimension: int,
        *,
        learned: bool,
        trained_tables: bool = False,
        missing: str = "skip",
    ) -> None:
        super().__init__()
        if missing not in MISSING_POLICIES:
            raise ValueError(f"missing {missing!r}; valid: {', '.join(MISSING_POLICIES)}")
        self.missing = missing
        self.linears = nn.ModuleList()
        self.tables = nn.ParameterList()
        for modality in modalities:
            linear = nn.Linear(modality.vectors.shape[1], dimension)
            table = F.normalize(modality.vectors)
            if missing == "mean" and modality.present.any():
                table[~modality.present] = table[modality.present].mean(0)
            if learned:
                self.linears.append(linear)
            else:
                table = linear(table).detach()
            self.tables.append(nn.Parameter(table, requires_grad=trained_tables))
        has = [modality.present.float()[:, None] for modality in modalities]
        self.has: Tensor  # (n, I, 1), 1. where an item has a modality
        self.register_buffer("has", torch.stack(has) if has else torch.empty(0), persistent=False)

    def __len__(self) -> int:
        """n, the number of modalities."""
        return len(self.tables)

    @property
    def counted(self) -> Tensor:
        """(n, I, 1), 1. where the aggregation counts a modality of an item."""
        return self.has if self.missing == "skip" else torch.ones_like(self.has)

    def forward(self) -> list[Tensor]:
        """[m_1, ..., m_n], each (I, d)."""
        content = list(self.tables)
        if self.linears:
            content = [
                linear(F.normalize(table))
                for linear, table in zip(self.linears, self.tables, strict=True)
            ]
        if self.missing == "zero":
            content = [m * has for m, has in zip(content, self.has, strict=True)]
        return content
