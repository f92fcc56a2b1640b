"""iALS (Hu et al., 2008), regularised by frequency (Rendle et al., 2022)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from model.closed_form import ClosedForm
from model.config import SELECTING, Config, Positive, Range, SystemOptions
from model.dataset import Catalogue, Dataset
from model.evaluation import validated
from model.graph import degrees, pattern_of
from model.ranking import InnerProduct
from model.selection import Selection
from model.sparse import Pattern, inner_products
from model.system import Fit, Row, Run, Snapshot

if TYPE_CHECKING:
    from model.interactions import Interactions
    from model.ranking import Scorer

STEPS = 3  # of conjugate gradients a solution, each from where the last one ended
FOLDING = 50  # of them for a new user, who starts from zero
TINY = 1e-30  # below it a direction is zero


@dataclass(frozen=True)
class Options(SystemOptions):
    """alpha_0, lambda, nu, and how often users and items are solved in turn."""

    reads = SELECTING | {"seed", "train.dimension"}
    undivided = "its items and users are solved in turn, in one process"

    iterations: Annotated[int, Range(1)] = 16
    unobserved_weight: Annotated[float, Positive] = 0.3
    regularization: Annotated[float, Range(0)] = 0.01
    frequency_exponent: Annotated[float, Range(0)] = 1.0


class Ials(ClosedForm):
    r"""min \sum_{(u,i)} (w_u · h_i - 1)^2 + alpha_0 \sum_{u,i} (w_u · h_i)^2 + the penalty

    lambda (\sum_u (n_u + alpha_0 I)^nu ||w_u||^2 + \sum_i (n_i + alpha_0 U)^nu ||h_i||^2), n the
    training interactions, s_ui = w_u · h_i. nu = 0 is the plain penalty of Hu et al. An iteration
    solves for the users, then for the items, by conjugate gradients (Takacs et al., 2011).
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        super().__init__(catalogue, config)
        d = config.train.dimension
        self.fitted = {
            name: 0.1 / d**0.5 * torch.randn(n, d)
            for name, n in (("users", self.n_users), ("items", self.n_items))
        }

    def fit(self, dataset: Dataset, run: Run) -> Fit:
        iterations, n_validation = self.config.options.iterations, len(dataset.validation)
        selection = Selection(self.config, iterations, n_validation, run.chosen)
        best = self.fitted
        if run.resumed is not None:
            selection.history = list(run.resumed.history)
            selection.best_epoch = run.resumed.best_epoch
            device = dataset.catalogue.train.items.device
            tensors = {name: t.to(device) for name, t in run.resumed.tensors.items()}
            self.fitted = {name: tensors[name] for name in best}
            best = {name: tensors[f"best.{name}"] for name in best}
        while not selection.finished:
            start = time.perf_counter()
            epoch = len(selection.history) + 1
            self.fitted = self.solved(run.seed, epoch)
            row: Row = {"epoch": epoch}
            if len(dataset.validation):
                row |= validated(self.scorer(), dataset.catalogue.train, dataset.validation)
            if selection.improves(row):
                best = self.fitted
            run.on_epoch(selection.history[-1], time.perf_counter() - start)
            if not selection.finished:
                # A file holds no tensor twice, and the best may be the present ones.
                kept = {f"best.{name}": t.clone() for name, t in best.items()}
                run.save(Snapshot(self.fitted | kept, selection.history, selection.best_epoch))
        self.fitted = best
        return Fit(selection.history, selection.best_epoch, selection.limited, selection.chosen)

    def solve(self, seed: int) -> dict[str, Tensor]:
        """The users for the present items, then the items for those users."""
        pattern, o = pattern_of(self.catalogue.train).with_cuts(), self.config.options
        per_user, per_item = degrees(self.catalogue.train)
        users = solved(pattern, self.fitted["users"], self.fitted["items"],
                       self._penalty(per_user, self.n_items), o.unobserved_weight)  # fmt: skip
        items = solved(pattern.T, self.fitted["items"], users,
                       self._penalty(per_item, self.n_users), o.unobserved_weight)  # fmt: skip
        return {"users": users, "items": items}

    def scorer(self) -> Scorer:
        return InnerProduct(*self.embeddings())

    def folding(self) -> Callable[[Interactions], Scorer]:
        return self._folded

    def _folded(self, histories: Interactions) -> Scorer:
        """New users as an iteration solves for them, to the end, while the items stay."""
        known, items = histories.of_first(self.n_items), self.fitted["items"]
        start = items.new_zeros(known.n_users, items.shape[1])
        penalty = self._penalty(known.degrees().double(), self.n_items)
        weight = self.config.options.unobserved_weight
        users = solved(pattern_of(known), start, items, penalty, weight, steps=FOLDING)
        return InnerProduct(users, items)

    def carriers(self) -> Callable[[Tensor, int], Tensor]:
        return self._carried

    def _carried(self, history: Tensor, item: int) -> Tensor:
        r"""h_i A_u^-1 h_j of every j, by which s_ui is a sum over them (Hu et al., section 5)."""
        items, n = self.fitted["items"].double(), len(history)
        liked, identity = items[history], torch.eye(items.shape[1]).to(items)
        penalty = self._penalty(torch.tensor([float(n)]), self.n_items).item()
        a = self.config.options.unobserved_weight * (items.T @ items) + liked.T @ liked
        return (liked @ torch.linalg.solve(a + penalty * identity, items[item])).float()

    def _penalty(self, interactions: Tensor, others: int) -> Tensor:
        """The weight of ||w||^2, of rows with that many interactions (n,) of `others`."""
        o = self.config.options
        weights = (interactions + o.unobserved_weight * others) ** o.frequency_exponent
        return (o.regularization * weights).float()

    def embeddings(self) -> tuple[Tensor, Tensor]:
        return self.fitted["users"], self.fitted["items"]


def solved(
    pattern: Pattern,
    start: Tensor,
    other: Tensor,
    penalty: Tensor,
    unobserved_weight: float,
    steps: int = STEPS,
) -> Tensor:
    r"""One side's vectors (n, d) that minimise the objective while the `other`'s (m, d) stay.

    Of every row r: (alpha_0 H^T H + \sum_{c in N_r} h_c h_c^T + penalty_r) w_r = \sum_c h_c.

    Args:
        pattern: the interactions, (n, m).
        start: (n, d), where the iteration starts.
        penalty: (n,).
        steps: of conjugate gradients.
    """
    gram = unobserved_weight * (other.T @ other)
    ones = other.new_ones(len(pattern.columns))

    def times(w: Tensor) -> Tensor:
        observed = inner_products(pattern, w, other)
        spread = pattern.product(observed, other)
        return spread.addmm_(w, gram).addcmul_(w, penalty[:, None])

    w = start.clone()
    residual = pattern.product(ones, other) - times(w)
    direction, squares = residual.clone(), residual.square().sum(1)
    for _ in range(steps):
        image = times(direction)
        step = squares / (direction * image).sum(1).clamp(min=TINY)
        w.addcmul_(direction, step[:, None])
        residual.addcmul_(image, step[:, None], value=-1)
        before, squares = squares, residual.square().sum(1)
        direction = residual + (squares / before.clamp(min=TINY))[:, None] * direction
    return w
