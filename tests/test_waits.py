"""How often the host waits for a card that is pretended (`pretended`) while a system is fitted."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from pretended import CARD, pretended_cuda
from small import EMBEDDING_SYSTEMS, PLAIN
from test_contract import config, dataset

from model.experiment import build, system_class
from model.fitting import Fitter
from model.system import Run

Waits = dict[tuple[str, str], int]
"""(Operation, file) → how often."""

CONTENT_LOSSES = replace(PLAIN.content, autoencoder=0.1, contrast=0.1)
AN_EPOCH: Waits = {
    # How many items the users are not shown again.
    ("repeat_interleave", "model/interactions.py"): 1,
    # All that is told of the epoch, and whether it is finite.
    ("copy to the CPU", "model/reductions.py"): 1,
}
TOLD: dict[str, Waits] = {"alpha": {("_local_scalar_dense", "model/systems/alpha.py"): 1}}
RANKING: tuple[Waits, ...] = (  # whose lists are to be compared exactly, and if there are such
    {("nonzero", "model/ranking.py"): 1},
    {("nonzero", "model/ranking.py"): 2, ("indexing by a mask", "model/ranking.py"): 2},
)


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
def test_a_fit_hardly_waits(system: str) -> None:
    n, steps, epoch = waits_of(system)
    assert n > 1 and not steps
    ranking = {what: often for what, often in epoch.items() if what[1] == "model/ranking.py"}
    assert ranking in RANKING
    rest = {what: often for what, often in epoch.items() if what not in ranking}
    assert rest == AN_EPOCH | TOLD.get(system, {})


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
    assert AN_EPOCH.items() <= epoch.items() and sum(epoch.values()) <= 6
