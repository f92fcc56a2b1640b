"""What fitting took on the machine where it was done: a page that no lock covers."""

from __future__ import annotations

from statistics import fmean

from model.metrics import SELECTION
from pipeline.common import paths
from pipeline.experiments.results import KEY, read_rows
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import Scores
from pipeline.reporting.sections import Report, Section
from pipeline.reporting.table import SELECTED_BY, Table


def times_report(inputs: Inputs) -> Report | None:
    """Seconds and memory of every system at its selected depth, beside what they bring.

    None where the studies left nothing here, as in an experiment's folder of its own.
    """
    scores = Scores(inputs.study.results)
    models = {tuple(row[name] for name in KEY) for row in inputs.study.models}
    rows = []
    for system, layers in scores.selected().items():
        path = paths.times_path(system)
        found = [
            row
            for row in (read_rows(path) if path.is_file() else [])
            if tuple(row[name] for name in KEY) in models
        ]
        mine = [r for r in found if r["control"] is None and r["layers"] == layers]
        if mine:
            rows.append(
                (
                    system, layers, scores.estimate(system, layers, SELECTION), len(mine),
                    fmean(r["seconds"] for r in mine), fmean(r["epochs"] for r in mine),
                    max(r["megabytes"] for r in mine), mine[0]["device"],
                    len(found), sum(r["seconds"] for r in found),
                )
            )  # fmt: skip
    if not rows:
        return None
    table = Table(
        "times",
        f"Fitting and evaluating at the selected depth, mean over models (seeds); {scores.split} "
        f"{SELECTED_BY}; memory is the most that a fit took beyond what its process held; last, "
        "all models of the study with their controls",
        (
            "system", "layers", SELECTION, "models", "seconds", "epochs", "MB", "device",
            "models, all", "seconds, all",
        ),
        tuple(rows),
        decimals=1,
    )  # fmt: skip
    text = (
        "Measured where and when each model was fitted, beside whatever else ran there: other fits "
        "of the same study among them. This page is no output of DVC's: equal runs take unequal "
        "times."
    )
    if inputs.refitted:
        text += " Seconds are those of both fits (`protocol: refit`), epochs those of the first."
    return Report("what fitting took", [Section("Time and memory", [text], [], [table])], [])
