"""One loop that fits every system of embeddings: sample, step, evaluate, keep the best."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from model.adam import Adam
from model.config import PUBLISHED
from model.dataset import Dataset
from model.evaluation import UNSETTLED, epoch_metrics
from model.losses import bpr, sampled_softmax
from model.objective import Objective
from model.ranking import InnerProduct
from model.reductions import numbers
from model.replay import Replayed, can_replay
from model.sampling import Batch, BatchSampler
from model.selection import Selection
from model.sparse import inner_products
from model.system import Diverged, Fit, FitError, Row, Run, Snapshot

if TYPE_CHECKING:
    from model.embedding import EmbeddingSystem


class Fitter:
    """Fits a system in place, epoch by epoch, on the device where it and the dataset are.

    `Selection` says which epoch is kept. Under protocol `published`, negatives may be positives. A
    fit that turns non-finite raises `Diverged` at the end of that epoch. Each row of the history
    holds epoch, train_loss, validation_loss, the validation metrics, and the system's diagnostics.
    """

    def __init__(
        self,
        system: EmbeddingSystem,
        dataset: Dataset,
        run: Run,
    ) -> None:
        self.system, self.told = system, run
        self.train, self.validation = dataset.catalogue.train, dataset.validation
        train, validation, config = self.train, self.validation, system.config
        self.settings = config.train
        self.batches = BatchSampler(
            train,
            self.settings.batch_size,
            self.settings.negatives,
            reject_positives=config.protocol != PUBLISHED and self.settings.reject_positives,
            seen_only=self.settings.cold_items == "new",
        )
        self.device = device = train.items.device
        self.ranks = train.share.ranks
        self.generator = torch.Generator(device).manual_seed(run.seed)
        # Dropout draws from the global generator.
        torch.manual_seed(run.seed)
        self.total = torch.zeros((), dtype=torch.float64, device=device)  # ranking losses, summed
        self.parameters = system.trained()
        self.optimizer = Adam(self.parameters.values())
        self.replayed: Replayed | None = None
        if can_replay(device) and system.repeatable and self.ranks.size == 1:
            self.optimizer.keep()
            self.replayed = Replayed(self._take, self.generator)
        self.n_validation = validation.share.total
        self.selection = Selection(config, self.settings.epochs, self.n_validation, run.chosen)
        self.best: dict[str, Tensor] = {}
        # One fixed draw, so that validation losses of different epochs compare.
        self.validation_batch = BatchSampler(
            validation,
            max(1, self.n_validation),
            self.settings.negatives,
            positives=train | validation,
            reject_positives=True,
        ).whole(torch.Generator(device).manual_seed(run.seed))
        if run.resumed is not None:
            self.restore(run.resumed)

    def run(self) -> Fit:
        """Run to the end and leave the chosen epoch's weights in the system."""
        selection = self.selection
        while not selection.finished:
            start = time.perf_counter()
            self._epoch()
            self.told.on_epoch(selection.history[-1], time.perf_counter() - start)
            if not selection.finished:
                self.told.save(self.snapshot())
        self.replayed = None  # and the memory that it holds
        if self.best:
            self.system.load(self.best)
        if not self.n_validation:
            lengths = _lengths(*self.system.embeddings())  # nobody has looked at them yet
            _require_finite(selection.best_epoch, numbers(self._sums(lengths)))
        return Fit(selection.history, selection.best_epoch, selection.limited, selection.chosen)

    def snapshot(self) -> Snapshot:
        """What `restore` takes; no copies."""
        tensors = {f"parameter.{n}": p.detach() for n, p in self.parameters.items()}
        tensors |= {f"best.{n}": p for n, p in self.best.items()}
        tensors |= {f"adam.{n}": t for n, t in self.optimizer.state.items()}
        tensors |= {"random": self.generator.get_state()}
        tensors |= {f"dropout.{n}": t for n, t in _global_random_state(self.device).items()}
        return Snapshot(tensors, self.selection.history, self.selection.best_epoch)

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """Go on from where a fit of the same system, data, parameters and seed was."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in snapshot.tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self.system.load(groups["parameter"])
        self.best = {n: t.to(self.device, copy=True) for n, t in groups.get("best", {}).items()}
        for name, tensor in self.optimizer.state.items():
            tensor.copy_(groups["adam"][name])
        self.generator.set_state(groups["random"][""].cpu())
        _set_global_random_state(groups["dropout"], self.device)
        self.selection.history = list(snapshot.history)
        self.selection.best_epoch = snapshot.best_epoch

    def _epoch(self) -> None:
        epoch = len(self.selection.history) + 1
        # No number is read before the last one is there, so that the host waits for a card once.
        measured = {"train_loss": self._pass(epoch)}
        checked = {"training loss": measured["train_loss"], **self.parameters}
        if self.n_validation:
            users, items = self.system.embeddings()
            measured |= self._validate(users, items)
            checked |= _lengths(users, items)
            checked["validation loss"] = measured["validation_loss"]
        measured |= self.system.told()
        self._require_copies(epoch)
        sums = self._sums(checked)
        found = numbers(measured | sums)
        _require_finite(epoch, {name: found[name] for name in sums})
        if found.get(UNSETTLED):
            found |= numbers(self._validate(users, items, wait=True))
        names = (name for name in measured if name != UNSETTLED)
        row: Row = {"epoch": epoch} | {name: found[name] for name in names}
        if self.selection.improves(row) and self.selection.validated:
            self.best = {n: p.detach().clone() for n, p in self.parameters.items()}

    def _pass(self, epoch: int) -> Tensor:
        """Once over the training edges; the mean ranking loss per edge, of all processes."""
        self.system.train()
        self.system.begin_epoch()
        self.optimizer.learning_rate = self.system.learning_rate(epoch)
        self.total.zero_()
        take = self.replayed or self._take
        for edges in self.batches.shuffled(self.generator):
            take(edges)
        return self.ranks.sum(self.total) / self.train.share.total

    def _take(self, edges: Tensor) -> None:
        """A step on the batch of these edges."""
        batch = self.batches.batch(edges, self.generator)
        self.total += self.step(batch).double() * batch.size

    def step(self, batch: Batch) -> Tensor:
        """One training step; its ranking loss, detached."""
        objective = self.objective(batch)
        self.optimizer.zero_grad()
        objective.backward()
        self.optimizer.step()
        return objective.ranking.detach()

    def objective(self, batch: Batch) -> Objective:
        """What the system minimises on a batch."""
        embeddings = self.system()
        return Objective(
            self._ranking_loss(embeddings.users, embeddings.items, batch),
            self.system.auxiliary(embeddings, batch),
            self.system.penalty(batch),
        )

    def _ranking_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor:
        if self.system.by_cosine:
            users, items = F.normalize(users), F.normalize(items)
        scores = inner_products(batch.pattern, users, items).view(batch.items.shape)
        if self.system.by_cosine:
            return sampled_softmax(scores, self.settings.temperature, batch.size)
        return bpr(scores, batch.size)

    def _require_copies(self, epoch: int) -> None:
        """FitError unless all processes still have the same of what each has a copy."""
        if self.ranks.size == 1:
            return
        own = self.system.user_tables
        copies = {n: p.detach().sum() for n, p in self.parameters.items() if n not in own}
        everyone = self.ranks.all(numbers(copies))
        for name in copies:
            values = [found[name] for found in everyone]
            if len({*map(repr, values)}) > 1:
                raise FitError(
                    f"epoch {epoch}: {name}: the processes' copies differ ({values}); their "
                    "machines need the same processors or cards, libraries and OMP_NUM_THREADS"
                )

    def _sums(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One pass, and float64 cannot overflow: a sum is finite if all its terms are.

        What one process finds, all of them know.
        """
        sums = [value.detach().sum(dtype=torch.float64) for value in values.values()]
        return dict(zip(values, self.ranks.sum(torch.stack(sums)), strict=True))

    @torch.no_grad()
    def _validate(self, users: Tensor, items: Tensor, wait: bool = False) -> dict[str, Tensor]:
        """Validation loss and metrics of embeddings (U, D) and (I, D), for all processes."""
        loss = self.ranks.sum(self._ranking_loss(users, items, self.validation_batch))
        scorer = InnerProduct(users, items)
        metrics = epoch_metrics(scorer, self.train, self.validation, wait=wait)
        return {"validation_loss": loss} | metrics


def _lengths(users: Tensor, items: Tensor) -> dict[str, Tensor]:
    """A length has a square: where both sides' are finite, so is every score."""
    return {"user embeddings": users.norm(dim=1), "item embeddings": items.norm(dim=1)}


def _require_finite(epoch: int, sums: Mapping[str, float]) -> None:
    """Raise `Diverged` for the first of `sums` that is not finite."""
    for name, total in sums.items():
        if not isfinite(total):
            raise Diverged(f"epoch {epoch}: {name}: no longer finite ({total})")


def _global_random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":  # asking a card that is not used would take a context on it
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_global_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
