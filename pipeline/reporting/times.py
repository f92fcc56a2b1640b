"""What fitting took on the machine where it was done: a page that no lock covers."""

from __future__ import annotations

from statistics import fmean

from model.metrics import SELECTION
from pipeline.common import paths
from pipeline.experiments.results import read_rows
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import Scores
from pipeline.reporting.sections import Report, Section
from pipeline.reporting.table import SELECTED_BY, Table


def times_report(inputs: Inputs) -> Report | None:
    """Seconds and memory of every system at its selected depth, beside what they bring.

    None where the studies left nothing, as in an experiment's folder of its own.
    """
    scores = Scores(inputs.study.results)
    rows = []
    for system, layers in scores.selected().items():
        path = paths.times_path(system)
        found = read_rows(path) if path.is_file() else []
        mine = [r for r in found if r["control"] is None and r["layers"] == layers]
        if not mine:
            return None
        rows.append(
            (
                system, layers, scores.estimate(system, layers, SELECTION),
                fmean(r["seconds"] for r in mine), fmean(r["epochs"] for r in mine),
                max(r["megabytes"] for r in mine), mine[0]["device"],
                sum(r["seconds"] for r in found), len(found),
            )
        )  # fmt: skip
    table = Table(
        "times",
        "Fitting and evaluating at the selected depth, mean over seeds; memory is the most that "
        "the process held, whatever it did before; last, all models of the study with controls",
        (
            "system", "layers", f"{scores.split} {SELECTED_BY}", "seconds", "epochs", "MB",
            "device", "seconds, all", "models",
        ),
        tuple(rows),
        decimals=3,
    )  # fmt: skip
    text = (
        "Measured where and when each model was fitted, beside whatever else ran there. This page "
        "is no output of DVC's: equal runs take unequal times."
    )
    return Report("what fitting took", [Section("Time and memory", [text], [], [table])], [])
