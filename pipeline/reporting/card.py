"""`reports/model-card.md`: what the trained model is, was made from, and is good for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors import safe_open

from model.config import REFIT
from model.metrics import METRICS, SELECTION, Measure
from pipeline.evidence.significance import compare
from pipeline.experiments.results import HEADLINES
from pipeline.reporting.descriptions import in_yaml, is_random, modalities_table
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.pages import fill
from pipeline.reporting.table import Table, title

CHOSEN = "chosen."  # begins the names of what a blend's state says of its parts
EPOCHS = {"train.epochs", "options.iterations"}  # who reads one of them is fitted step by step


def model_card(inputs: Inputs) -> str:
    """The card, in Markdown (Mitchell et al., 2019)."""
    model, users = inputs.trained
    with safe_open(model, framework="numpy") as file:
        described = json.loads(file.metadata()["recommender"])
        chosen = {
            key.removeprefix(CHOSEN): f"{float(file.get_tensor(key)):g}"
            for key in sorted(file.keys())
            if key.startswith(CHOSEN)
        }
    return fill(
        "model-card.md.j2",
        model=described,
        path=model,
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        summary=inputs.summary,
        random=[m for m, metadata in inputs.embeddings.items() if is_random(metadata)],
        read=described["modalities"],
        in_epochs=not chosen and bool(EPOCHS.intersection(described["parameters"])),
        selected=inputs.early_stopping,
        chosen=Table(
            "chosen",
            "Its parts, and their parameters"
            + (", which validation selected" if inputs.early_stopping else ""),
            ("parameter", "value"),
            tuple(chosen.items()),
        ),
        refitted=inputs.refitted,
        modalities=modalities_table(inputs.summary, inputs.embeddings, inputs.failures),
        metrics=metrics_table(users),
        parameters=Table(
            "parameters",
            "The parameters that it reads",
            ("parameter", "value"),
            tuple((key, in_yaml(value)) for key, value in described["parameters"].items()),
        ),
    )


def metrics_table(users: Path) -> Table:
    """The headline metrics of every split, with BCa intervals over its users."""
    table = pq.read_table(users)
    splits, rows = table["split"].to_numpy(zero_copy_only=False), []
    for split, metrics in HEADLINES.items():
        mine = splits == split
        if not mine.any():
            continue
        measures = [Measure(metric, SELECTION.k) for metric in METRICS if metric in metrics]
        values = np.stack([table[str(m)].to_numpy()[mine] for m in measures], axis=1)
        for measure, found in zip(measures, compare(values), strict=True):
            rows.append((split, title(measure), found.interval, found.users))
    caption = "Metrics, with 95 % intervals over users (BCa bootstrap), of this one model"
    if REFIT in splits:
        caption += " (refit) and of the fit that validation selected"
    return Table("card", caption, ("split", "metric", "value", "users"), tuple(rows))
