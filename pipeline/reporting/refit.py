"""What one more fit, on training and validation interactions, brings on test."""

from __future__ import annotations

import numpy as np

from model.config import REFIT
from pipeline.evidence.significance import compare
from pipeline.reporting.contrasts import DIFFERENCE, Evidence
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.judgements import Judgements
from pipeline.reporting.table import SELECTED_BY, Table


def refit_table(inputs: Inputs, evidence: Evidence) -> Table | None:
    """Each system at its selected depth, before and after; None but under `protocol: refit`."""
    if not (inputs.refitted and evidence.scores.refitted):
        return None
    settings = list(evidence.selected.values())
    strict, again = evidence.judgements, Judgements(inputs.folders, REFIT)
    values = [(strict.values(setting), again.values(setting)) for setting in settings]
    found = compare(np.stack([after - before for before, after in values], axis=1))
    return Table(
        "refit",
        "Refit: what validation selected, fitted once more on training and validation "
        f"interactions together, for as many epochs, and tested again (test {SELECTED_BY}, mean "
        "over seeds; the difference is paired over users, with its 95 % interval). It is what a "
        "deployed model gains by more data: no finding and no other comparison rests on it",
        ("system", "layers", f"test {SELECTED_BY}", f"refit {SELECTED_BY}", DIFFERENCE),
        tuple(
            (
                setting.system, setting.layers, float(before.mean()), float(after.mean()),
                less.interval,
            )
            for setting, (before, after), less in zip(settings, values, found, strict=True)
        ),
        signed=frozenset({DIFFERENCE}),
    )  # fmt: skip
