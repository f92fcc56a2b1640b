"""The paper's Tables 3 to 12, 15 and 16 beside ours, for the two catalogues that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.csv as pc

from model.metrics import Measure
from pipeline.reporting.scores import Scores
from pipeline.reporting.table import Table

PUBLISHED = Path(__file__).with_name("published.csv")
CATALOGUES = {"dbbook": ("DbBook", 5_660, 4_878), "ml1m": ("MovieLens1M", 6_036, 3_081)}
"""Key in the file → its name, its users and its items (the paper's Table 1)."""


def catalogue_of(summary: dict[str, Any]) -> str | None:
    """Which of the paper's catalogues this is, by its users and items."""
    size = summary["users"], summary["items"]
    return next((key for key, (_, *known) in CATALOGUES.items() if tuple(known) == size), None)


def published_table(summary: dict[str, Any], scores: Scores, alpha: Table | None) -> Table | None:
    """Published numbers and ours at 10, system by system and depth by depth; all in its file.

    None for other catalogues, and where the study shares no system with the paper.
    """
    key = catalogue_of(summary)
    if key is None or scores.split != "test":
        return None
    shown = [Measure(metric, k) for metric in ("ndcg", "recall", "precision") for k in scores.ks]
    learned = {row[:2]: row[2] for row in alpha.rows} if alpha else {}
    rows = []
    for row in pc.read_csv(PUBLISHED).to_pylist():
        system, layers = row["system"], row["layers"]
        depths = scores.depths.get(system, [])
        if row["dataset"] == key and layers in depths:
            pairs = [(row[str(m)], scores.estimate(system, layers, m)) for m in shown]
            pairs.append((row["alpha"], learned.get((system, layers))))
            rows.append(
                (row["table"], system, layers, *(value for pair in pairs for value in pair))
            )
    if not rows:
        return None
    name = CATALOGUES[key][0]
    return Table(
        "published",
        f"{name} as published and as measured here, mean over seeds. The published numbers come "
        "from code whose messages vanished (`propagation: published`) and, but for VBPR, MMGCN and "
        "LATTICE, from the last epoch (`protocol: published`), with texts and images that are not "
        "public: only under those two parameters is LightGCN the same model",
        (
            "table",
            "system",
            "layers",
            *(f"{m}{of}" for m in (*shown, "α") for of in (" published", "")),
        ),
        tuple(rows),
        intervals=False,
    )  # fmt: skip
