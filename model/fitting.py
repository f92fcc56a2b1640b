"""One loop that fits every variant: sample, step, evaluate, keep the best."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from model.adam import Adam
from model.interactions import Interactions
from model.lightgcn import LightGCN
from model.losses import bpr, l2_of_touched
from model.metrics import evaluate
from model.sampling import NegativeSampler

SELECTION = "ndcg@10"


@dataclass(frozen=True)
class Schedule:
    """How to fit; names as under `train` in params.yaml."""

    epochs: int
    batch_size: int
    learning_rate: float
    regularization: float
    reject_positives: bool
    patience: int
    protocol: str = "validated"


@dataclass(frozen=True)
class Fit:
    """What fitting leaves: one row an epoch, and the epoch whose weights the model now has."""

    history: list[dict[str, float]]
    best_epoch: int


def fit(
    model: LightGCN,
    train: Interactions,
    validation: Interactions,
    schedule: Schedule,
    *,
    seed: int,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> Fit:
    """Fit `model` in place.

    Under protocol `validated`, fitting stops after `patience` epochs without a better validation
    NDCG@10 and the model keeps the weights of the best epoch; under `published`, it runs all
    epochs, keeps the last, and negatives may be positives. Without validation interactions there
    is nothing to select by, and the last epoch is kept.

    Each row of the history holds epoch, train_loss, validation_loss, the validation metrics, and
    alpha where the variant has one.
    """
    device = train.items.device
    validated = schedule.protocol == "validated" and len(validation) > 0
    sample = NegativeSampler(
        train, reject_positives=schedule.reject_positives and schedule.protocol == "validated"
    )
    generator = torch.Generator(device).manual_seed(seed)
    # One fixed draw, so that validation losses of different epochs compare.
    validation_negatives = NegativeSampler(train | validation)(
        validation.users, torch.Generator(device).manual_seed(seed)
    )
    optimizer = Adam(model.parameters(), schedule.learning_rate)
    history: list[dict[str, float]] = []
    best_epoch, best_state = 0, None
    for epoch in range(1, schedule.epochs + 1):
        loss = _epoch(model, train, sample, optimizer, schedule, generator)
        row = {"epoch": epoch, "train_loss": loss}
        row |= _validate(model, train, validation, validation_negatives)
        if model.alpha is not None:
            row["alpha"] = model.alpha
        history.append(row)
        on_epoch(row)
        if not validated:
            best_epoch = epoch
        elif best_state is None or row[SELECTION] > history[best_epoch - 1][SELECTION]:
            best_epoch, best_state = epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= schedule.patience:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    return Fit(history, best_epoch)


def _epoch(
    model: LightGCN,
    train: Interactions,
    sample: NegativeSampler,
    optimizer: Adam,
    schedule: Schedule,
    generator: torch.Generator,
) -> float:
    """One pass over the training edges in random order; the mean BPR loss per edge."""
    device = train.items.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    order = torch.randperm(len(train), generator=generator, device=device)
    for batch in order.split(schedule.batch_size):
        users, positives = train.users[batch], train.items[batch]
        negatives = sample(users, generator)
        all_users, all_items = model()
        loss = bpr(*_scores(all_users, all_items, users, positives, negatives))
        total += loss.detach().double() * len(batch)
        if schedule.regularization:
            nodes = torch.cat([users, positives + model.n_users, negatives + model.n_users])
            loss = loss + schedule.regularization * l2_of_touched(
                model.embedding, nodes, len(batch)
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(total) / len(train)


@torch.inference_mode()
def _validate(
    model: LightGCN, train: Interactions, validation: Interactions, negatives: Tensor
) -> dict[str, float]:
    """Validation loss and metrics; nothing where there are no validation interactions."""
    if not len(validation):
        return {}
    users, items = model()
    loss = bpr(*_scores(users, items, validation.users, validation.items, negatives))
    metrics = evaluate(users, items, seen=train, relevant=validation)
    return {"validation_loss": float(loss)} | {n: float(v.mean()) for n, v in metrics.items()}


def _scores(
    all_users: Tensor, all_items: Tensor, users: Tensor, positives: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor]:
    """(B,) scores of (u, i) and of (u, j)."""
    # Not all_users[users]: the backward of indexing adds in whatever order the threads come.
    u = F.embedding(users, all_users)
    i, j = F.embedding(positives, all_items), F.embedding(negatives, all_items)
    return (u * i).sum(1), (u * j).sum(1)
