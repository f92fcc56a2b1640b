"""Modality embeddings on their way into the collaborative space (eq. 11)."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.chosen import Chosen, mean_of
from model.config import MISSING, Content
from model.dataset import Modality
from model.losses import info_nce


def l2norm(x: Tensor) -> Tensor:
    """Rows of length 1; zero rows stay zero. (n, w) → (n, w), right for every finite row."""
    # Scaled first, which changes no direction: a float32 above 1e19 or below 1e-23 has no square.
    largest = x.detach().abs().amax(1, keepdim=True)
    return F.normalize(x / torch.where(largest > 0, largest, 1.0))


def counted(modalities: Sequence[Modality], missing: str) -> Tensor:
    """(n, I, 1) float32, 1. where an average counts a modality of an item.

    An item that lacks a modality follows `missing`: `skip` leaves it out, `zero` counts a zero
    vector, `mean` counts the mean of the modality's present vectors.

    Raises:
        ValueError: `missing` is none of these.
    """
    if missing not in MISSING:
        raise ValueError(f"missing {missing!r}; valid: {', '.join(MISSING)}")
    if not modalities:
        return torch.empty(0, 0, 1)
    has = torch.stack([m.present for m in modalities]).float()[:, :, None]
    return has if missing == "skip" else torch.ones_like(has)


class Projection(nn.Module):
    r"""m_j = L2norm(x_j) W_j + b_j for every modality j (eq. 11).

    With projection `fixed`, W_j and b_j are drawn once and m_j is a table, as in the published
    code; with `learned`, W_j and b_j are trained. `trained_tables` makes the tables themselves
    parameters: the m_j when W_j is fixed, the x_j when it is learned. W_j and b_j stay part of the
    state either way: an item that is new is embedded by them.

    `content` adds what the paper leaves open: `single_branch` a trained linear layer after W_j,
    the same for all modalities; the weights `autoencoder` and `contrast` the losses of that name.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        dimension: int,
        *,
        learned: bool,
        missing: str,
        content: Content,
        trained_tables: bool = False,
    ) -> None:
        super().__init__()
        self.learned, self.missing, self.content = learned, missing, content
        self.linears = nn.ModuleList()
        self.tables = nn.ParameterList()
        self.decoders = nn.ModuleList()
        self.targets: list[str] = []  # buffers of the L2norm(x_j) that the autoencoder restores
        for index, modality in enumerate(modalities):
            linear = nn.Linear(modality.vectors.shape[1], dimension)
            table = l2norm(modality.filled(missing))
            if self.content.autoencoder:
                self.targets.append(f"target_{index}")
                self.register_buffer(self.targets[-1], table.clone(), persistent=False)
                self.decoders.append(nn.Linear(dimension, table.shape[1]))
            if not learned:
                table = linear(table).detach()
            self.linears.append(linear.requires_grad_(learned))
            self.tables.append(nn.Parameter(table, requires_grad=trained_tables))
        self.shared = nn.Linear(dimension, dimension) if self.content.single_branch else None
        self.counted: Tensor  # (n, I, 1)
        self.has: Tensor  # (n, I, 1), 1. where an item has a modality
        self.register_buffer("counted", counted(modalities, missing), persistent=False)
        self.register_buffer("has", counted(modalities, "skip"), persistent=False)

    def __len__(self) -> int:
        """n, the number of modalities."""
        return len(self.tables)

    @property
    def selects(self) -> bool:
        """Whether `auxiliary` takes the items of a batch that have content, however many."""
        return bool(self.content.autoencoder or self.content.contrast)

    def forward(self) -> list[Tensor]:
        """[m_1, ..., m_n], each (I, d)."""
        content = list(self.tables)
        if self.learned:
            content = [
                linear(F.normalize(table))
                for linear, table in zip(self.linears, self.tables, strict=True)
            ]
        return self._finished(content, self.has)

    def of_new(self, content: Sequence[Modality]) -> tuple[list[Tensor], Tensor]:
        """What `forward` would make of other items, and which an average counts.

        Args:
            content: the same modalities, of m items; `model.dataset.completed`.

        Returns:
            [m_1, ..., m_n], each (m, d), and (n, m, 1).
        """
        made = [
            linear(l2norm(modality.vectors.to(self.counted)))
            for linear, modality in zip(self.linears, content, strict=True)
        ]
        has = counted(content, "skip").to(self.counted.device)
        counts = has if self.missing == "skip" else torch.ones_like(has)
        return self._finished(made, has), counts

    def _finished(self, content: list[Tensor], has: Tensor) -> list[Tensor]:
        if self.shared is not None:
            content = [self.shared(m) for m in content]
        if self.missing == "zero":
            content = [m * present for m, present in zip(content, has, strict=True)]
        return content

    def auxiliary(self, content: Sequence[Tensor], touched: Tensor, most: int) -> Tensor | None:
        """The losses that the options ask for, over the items of a batch.

        autoencoder: mean squared distance of a linear map of m_j from L2norm(x_j), over the items
        that have j, mean over j. contrast: symmetric InfoNCE between m_j and m_k over the items
        that have both, mean over pairs.

        Args:
            content: what `forward` returned.
            touched: (I,) bool.
            most: no fewer than are touched.
        """
        if not (self.selects and len(self)):
            return None
        has = (self.has[:, :, 0] > 0) & touched
        errors, losses = [], []
        if self.content.autoencoder:
            for j, decode in enumerate(self.decoders):
                if len(chosen := Chosen.of(has[j], most)):
                    target: Tensor = getattr(self, self.targets[j])
                    apart = decode(chosen.of_table(content[j])) - target[chosen.rows]
                    errors.append((chosen, chosen.mean(apart.square())))
        if self.content.contrast:
            for j, k in combinations(range(len(content)), 2):
                if len(chosen := Chosen.of(has[j] & has[k], most)):
                    pair = chosen.of_table(content[j]), chosen.of_table(content[k])
                    loss = info_nce(*pair, self.content.temperature, chosen.counts)
                    losses.append((chosen, loss))
        terms = [self.content.autoencoder * mean_of(errors)] if errors else []
        terms += [self.content.contrast * mean_of(losses)] if losses else []
        return torch.stack(terms).sum() if terms else None
