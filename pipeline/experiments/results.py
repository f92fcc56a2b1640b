"""The numbers of fitted models as files: tidy tables, written and read here alone.

torch is not imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pc

from model.metrics import SELECTION, Measure
from pipeline.common.files import write_csv
from pipeline.common.paths import RAW

if TYPE_CHECKING:
    from pipeline.experiments.cells import Cell

Row = dict[str, Any]

KEY = ("system", "layers", "seed")
"""What tells a model of a study from the others; `layers` and `seed` are None where the system
reads none."""

RESULT = ("split", "metric", "k", "value")
PROGRESS = ("train_loss", "validation_loss", str(SELECTION))
"""What a study keeps of a model's history, besides its diagnostics."""

# Columns without a type here hold numbers.
TYPES = dict.fromkeys(("system", "split", "metric"), pa.string()) | dict.fromkeys(
    ("layers", "seed", "best_epoch", "epoch", "k"), pa.int64()
)

HEADLINES = {"test": ("ndcg", "recall", "precision"), "validation": ("ndcg",)}


@dataclass(frozen=True)
class Study:
    """The numbers of several fitted models.

    Attributes:
        models: a row a model: `KEY`, best_epoch, and its diagnostics (such as alpha).
        results: a row a number: `KEY` and `RESULT`.
        history: a row an epoch: `KEY`, epoch, and what there is of `PROGRESS` and of diagnostics.
    """

    models: list[Row]
    results: list[Row]
    history: list[Row]

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Study:
        """The study that these cells make up."""
        study = cls([], [], [])
        for cell in cells:
            e, diagnostics = cell.experiment, cell.diagnostics
            key = dict(zip(KEY, (e.system, e.layers, e.seed), strict=True))
            kept = (*PROGRESS, *diagnostics)
            study.models.append(key | {"best_epoch": cell.best_epoch} | diagnostics)
            study.results.extend(key | row for row in cell.results)
            study.history.extend(
                key | {"epoch": row["epoch"]} | {name: row[name] for name in kept if name in row}
                for row in cell.history
            )
        return study

    def __add__(self, other: Study) -> Study:
        """The models of both."""
        return Study(
            self.models + other.models,
            self.results + other.results,
            self.history + other.history,
        )

    def write(self, folder: Path) -> None:
        """Write `models.csv`, `results.csv` and `history.csv`."""
        write_rows(folder / "models.csv", self.models, (*KEY, "best_epoch"))
        write_rows(folder / "results.csv", self.results, (*KEY, *RESULT))
        write_rows(folder / "history.csv", self.history, (*KEY, "epoch"))

    @classmethod
    def read(cls, folder: Path) -> Study:
        """What `write` wrote."""
        return cls(*(read_rows(folder / f"{n}.csv") for n in ("models", "results", "history")))


def headlines(dataset: Path, results: Iterable[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """The few numbers that people compare: catalogue → split → name@k → value, to 6 digits.

    They stand under their catalogue's name, its path in data/raw, so that `dvc metrics diff` does
    not subtract one catalogue's numbers from another's.
    """
    name = dataset.relative_to(RAW) if dataset.is_relative_to(RAW) else dataset
    values = {(row["split"], row["metric"], row["k"]): row["value"] for row in results}
    found = {
        split: {
            str(Measure(metric, SELECTION.k)): round(values[split, metric, SELECTION.k], 6)
            for metric in metrics
            if (split, metric, SELECTION.k) in values
        }
        for split, metrics in HEADLINES.items()
    }
    return {str(name): {split: numbers for split, numbers in found.items() if numbers}}


def write_rows(path: Path, rows: Sequence[Row], first: Sequence[str]) -> None:
    """Write `rows` as CSV: the columns `first`, then those that other keys make; gaps are empty."""
    names = list(dict.fromkeys((*first, *(name for row in rows for name in row))))
    columns = {name: [row.get(name) for row in rows] for name in names}
    write_csv(path, pa.table({n: pa.array(values, TYPES.get(n)) for n, values in columns.items()}))


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `write_rows` wrote."""
    options = pc.ConvertOptions(column_types=TYPES)
    rows: list[Row] = pc.read_csv(path, convert_options=options).to_pylist()
    return rows
