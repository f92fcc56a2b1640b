"""How often the host waits for a card that is pretended (`pretended`) while a system is fitted."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretended import CARD, CPU, pretended_cuda
from small import EMBEDDING_SYSTEMS, PLAIN
from test_contract import config, dataset

from model.experiment import build, system_class
from model.fitting import Fitter
from model.system import Row, Run

Waits = dict[tuple[str, str], int]
"""(Operation, file) → how often."""

CONTENT_LOSSES = replace(PLAIN.content, autoencoder=0.1, contrast=0.1)
AN_EPOCH: Waits = {
    # All that is told of the epoch, and whether it is finite.
    ("copy to the CPU", "model/reductions.py"): 1,
}


def waits_of(system: str, **changes: Any) -> tuple[int, Waits, Waits]:
    """The steps of an epoch, their waits, and the epoch's beside them."""
    with pretended_cuda() as waits:

        def counted() -> Counter[tuple[str, str]]:
            found: Counter[tuple[str, str]] = Counter()
            for (operation, line), n in waits.items():
                found[operation, line.partition(":")[0]] += n
            waits.clear()
            return found

        data = dataset()
        model = build(system_class(system), data.catalogue, config(system, **changes), 3)
        fitter = Fitter(model.to(CARD), data.to(CARD), Run(3))  # type: ignore[arg-type]
        fitter._epoch()  # what is made once is there afterwards
        fitter.system.train()
        counted()
        batches = [fitter.step(batch) for batch in fitter.batches.epoch(fitter.generator)]
        steps = counted()
        fitter._epoch()
        return len(batches), steps, counted() - steps


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_a_fit_waits_once_an_epoch(system: str) -> None:
    n, steps, epoch = waits_of(system)
    assert n > 1 and not steps
    assert epoch == AN_EPOCH


@pytest.mark.parametrize(
    ("system", "changes"),
    [("lattice", {"options": {"rebuild": "epoch"}}), ("frozen", {"cold_items": "new"}),
     ("frozen", {"content": CONTENT_LOSSES}), ("early", {"content": CONTENT_LOSSES}),
     ("frozen", {"id_dropout": 0.3}), ("none", {"loss": "softmax", "negatives": 3})],
    ids=str,
)  # fmt: skip
def test_options_that_cost_no_wait(system: str, changes: dict[str, Any]) -> None:
    _, steps, epoch = waits_of(system, **changes)
    assert not steps
    assert epoch == AN_EPOCH


def test_an_epoch_waits_again_for_lists_that_tie() -> None:
    """All items alike: more tie than there are candidates, and the catalogue's order decides."""

    def row_of(device: torch.device) -> Row:
        data = dataset()
        settings = config("none", layers=0, learning_rate=1e-30)
        model = build(system_class("none"), data.catalogue, settings, 3)
        with torch.no_grad():
            model.item_embedding[:] = 1.0  # type: ignore[index, operator]
        fitter = Fitter(model.to(device), data.to(device), Run(3))  # type: ignore[arg-type]
        fitter._epoch()
        return fitter.selection.history[0]

    expected = row_of(CPU)
    with pretended_cuda():
        found = row_of(CARD)
    assert found.keys() == expected.keys()
    assert found["ndcg@10"] == expected["ndcg@10"]
