"""One loop that fits every variant: sample, step, evaluate, keep the best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor
from torch.nn import functional as F

from model.adam import Adam
from model.config import Config
from model.interactions import Interactions
from model.losses import bpr, sampled_softmax
from model.metrics import SELECTION, evaluate
from model.recommender import Recommender
from model.sampling import Batch, BatchSampler
from model.sparse import inner_products

Row = dict[str, float]


class Diverged(ArithmeticError):
    """A fit whose numbers are no longer finite. The message says which, and in which epoch."""


@dataclass(frozen=True)
class Fit:
    """What fitting leaves.

    Attributes:
        history: one row an epoch.
        best_epoch: the epoch whose weights the model now has.
        users, items: (U, D) and (I, D), its final embeddings.
    """

    history: list[Row]
    best_epoch: int
    users: Tensor
    items: Tensor


@dataclass(frozen=True)
class State:
    """All that a fit needs to go on exactly as if it had never stopped.

    Attributes:
        tensors: parameters, the best epoch's, the optimizer's, the random generators'.
        history: one row a finished epoch.
        best_epoch: as in `Fit`.
    """

    tensors: dict[str, Tensor]
    history: list[Row]
    best_epoch: int


class Fitter:
    """Fits `model` in place, epoch by epoch.

    Under protocol `validated`, fitting stops after `patience` epochs without a better validation
    NDCG@10 and the model keeps the weights of the best epoch; under `published`, it runs all
    epochs, keeps the last, and negatives may be positives. Without validation interactions there
    is nothing to select by, and the last epoch is kept.

    A fit that turns non-finite raises `Diverged` at the end of that epoch.

    Each row of the history holds epoch, train_loss, validation_loss, the validation metrics, and
    alpha where the variant has one. `seconds` holds each epoch's wall-clock time: it is no part
    of a result.
    """

    def __init__(
        self,
        model: Recommender,
        train: Interactions,
        validation: Interactions,
        config: Config,
        seed: int,
    ) -> None:
        self.model, self.train, self.validation = model, train, validation
        self.config, self.settings = config, config.train
        published = config.protocol == "published"
        self.validated = not published and len(validation) > 0
        self.batches = BatchSampler(
            train,
            self.settings.batch_size,
            self.settings.negatives,
            reject_positives=self.settings.reject_positives and not published,
        )
        device = train.items.device
        self.generator = torch.Generator(device).manual_seed(seed)
        # Dropout draws from the global generator.
        torch.manual_seed(seed)
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = Adam(self.parameters.values(), self.settings.learning_rate)
        self.history: list[Row] = []
        self.seconds: list[float] = []
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}
        # One fixed draw, so that validation losses of different epochs compare.
        negatives = BatchSampler(train | validation, 1, self.settings.negatives,
                                 reject_positives=True).sampler(
            validation.users[:, None].expand(-1, self.settings.negatives),
            torch.Generator(device).manual_seed(seed),
        )  # fmt: skip
        self.validation_batch = Batch.of(
            validation.users,
            torch.cat([validation.items[:, None], negatives], dim=1),
            (train.n_users, train.n_items),
        )

    @property
    def finished(self) -> bool:
        """Whether no epoch is left."""
        epoch = len(self.history)
        patient = not self.validated or epoch - self.best_epoch < self.settings.patience
        return epoch >= self.settings.epochs or not patient

    def run(
        self,
        on_epoch: Callable[[Row, float], None] = lambda row, seconds: None,
        save: Callable[[State], None] = lambda state: None,
    ) -> Fit:
        """Run to the end and leave the chosen epoch's weights in the model.

        Args:
            on_epoch: told of every finished epoch: its row and its seconds.
            save: told the state after every epoch that is not the last; the tensors are live, so
                what is to be kept must be copied or written before it returns.
        """
        while not self.finished:
            start = time.perf_counter()
            self._epoch()
            self.seconds.append(time.perf_counter() - start)
            on_epoch(self.history[-1], self.seconds[-1])
            if not self.finished:
                save(self.state())
        if self.best:
            self._load(self.best)
        with torch.no_grad():
            users, items = self._scored(self.best_epoch)
        return Fit(self.history, self.best_epoch, users.detach(), items.detach())

    def state(self) -> State:
        """What `restore` takes; no copies."""
        tensors = {f"parameter.{n}": p.detach() for n, p in self.parameters.items()}
        tensors |= {f"best.{n}": p for n, p in self.best.items()}
        tensors |= {f"adam.{n}": t for n, t in self.optimizer.state.items()}
        tensors |= {"random": self.generator.get_state()}
        tensors |= {f"dropout.{n}": t for n, t in _global_random_state().items()}
        return State(tensors, self.history, self.best_epoch)

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go on from `state`, of a fit of the same model, data, configuration and seed."""
        device = self.train.items.device
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in state.tensors.items():
            group, _, rest = name.partition(".")
            groups.setdefault(group, {})[rest] = tensor
        self._load(groups["parameter"])
        self.best = {n: t.to(device, copy=True) for n, t in groups.get("best", {}).items()}
        for name, tensor in self.optimizer.state.items():
            tensor.copy_(groups["adam"][name])
        self.generator.set_state(groups["random"][""].cpu())
        _set_global_random_state(groups["dropout"])
        self.history, self.best_epoch = list(state.history), state.best_epoch

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def _epoch(self) -> None:
        epoch = len(self.history) + 1
        row: Row = {"epoch": epoch, "train_loss": self._pass(epoch)}
        _require_finite(epoch, {"training loss": row["train_loss"], **self.parameters})
        row |= self._validate(epoch)
        if self.model.alpha is not None:
            row["alpha"] = self.model.alpha
        self.history.append(row)
        if not self.validated:
            self.best_epoch = epoch
        elif (
            not self.best or row[str(SELECTION)] > self.history[self.best_epoch - 1][str(SELECTION)]
        ):
            self.best_epoch = epoch
            self.best = {n: p.detach().clone() for n, p in self.parameters.items()}

    def _pass(self, epoch: int) -> float:
        """Once over the training edges; the mean ranking loss per edge."""
        self.model.train()
        self.model.begin_epoch()
        self.optimizer.learning_rate = self.model.learning_rate(epoch)
        total = torch.zeros((), dtype=torch.float64, device=self.train.items.device)
        for batch in self.batches.epoch(self.generator):
            total += self.step(batch).double() * len(batch)
        return float(total) / len(self.train)

    def step(self, batch: Batch) -> Tensor:
        """One training step; its ranking loss, detached."""
        users, items = self.model()
        loss = self._ranking_loss(users, items, batch)
        objective, auxiliary = loss, self.model.auxiliary_loss(users, items, batch)
        if auxiliary is not None:
            objective = loss + auxiliary
        self.optimizer.zero_grad()
        objective.backward()
        self.model.regularize(batch)
        self.optimizer.step()
        return loss.detach()

    def _ranking_loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor:
        if self.settings.loss == "softmax":
            users, items = F.normalize(users), F.normalize(items)
        scores = inner_products(batch.pattern, users, items).view(batch.items.shape)
        if self.settings.loss == "softmax":
            return sampled_softmax(scores, self.settings.temperature)
        return bpr(scores)

    @torch.inference_mode()
    def _validate(self, epoch: int) -> Row:
        """Validation loss and metrics; nothing where there are no validation interactions."""
        if not len(self.validation):
            return {}
        users, items = self._scored(epoch)
        loss = float(self._ranking_loss(users, items, self.validation_batch))
        _require_finite(epoch, {"validation loss": loss})
        found = evaluate(lambda u: users[u] @ items.T, seen=self.train, relevant=self.validation)
        return {"validation_loss": loss} | {str(m): v for m, v in found.values().items()}

    def _scored(self, epoch: int) -> tuple[Tensor, Tensor]:
        """What the model is evaluated by: users (U, D) and items (I, D)."""
        self.model.eval()
        users, items = self.model()
        # A length has a square: where both sides' are finite, so is every score.
        lengths = {"user embeddings": users.norm(dim=1), "item embeddings": items.norm(dim=1)}
        _require_finite(epoch, lengths)
        return users, items


def _require_finite(epoch: int, values: Mapping[str, float | Tensor]) -> None:
    """Raise `Diverged` for the first of `values` that holds a number that is not finite."""
    for name, value in values.items():
        # One pass, and float64 cannot overflow: a sum is finite if all its terms are.
        total = (
            value if isinstance(value, float) else float(value.detach().sum(dtype=torch.float64))
        )
        if not isfinite(total):
            shown = value if isinstance(value, float) else "no longer finite"
            raise Diverged(f"epoch {epoch}: {name}: {shown}")


def _global_random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_global_random_state(state: dict[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu())
