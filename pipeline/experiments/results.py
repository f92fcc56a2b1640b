"""The numbers of fitted models as files: tidy tables, written and read here alone.

Every user's values and list are in Parquet, all else in CSV. torch is not imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.config import REFIT
from model.metrics import SELECTION, Measure
from pipeline.common.files import atomic_path, write_csv
from pipeline.common.paths import RAW

if TYPE_CHECKING:
    from pipeline.experiments.cells import Cell
    from pipeline.experiments.experiment import Experiment

Row = dict[str, Any]

KEY = ("system", "control", "layers", "seed")
"""What tells a model of a study from the others; `control` is None for the system itself, `layers`
and `seed` where the system reads none."""

RESULT = ("split", "metric", "k", "value")
PROGRESS = ("train_loss", "validation_loss", str(SELECTION))
"""What a study keeps of a model's history, besides its diagnostics."""

# Columns without a type here hold numbers.
TYPES = (
    dict.fromkeys(("system", "control", "split", "metric"), pa.string())
    | dict.fromkeys(("layers", "seed", "best_epoch", "epochs", "epoch", "k"), pa.int64())
    | {"limited": pa.bool_()}
)

ACCURATE = ("ndcg", "recall", "precision")
HEADLINES = {"test": ACCURATE, "validation": ("ndcg",), REFIT: ACCURATE}


@dataclass(frozen=True)
class Trial:
    """A cell under the name that a study has for it: without content, a system may be another.

    Attributes:
        own: the experiment of the system itself, whose depth and seed it stands for.
    """

    system: str
    control: str | None
    cell: Cell
    own: Experiment

    @property
    def key(self) -> Row:
        """The values of `KEY`."""
        own = self.own
        return dict(zip(KEY, (self.system, self.control, own.layers, own.seed), strict=True))


@dataclass(frozen=True)
class Study:
    """The numbers of several fitted models.

    Attributes:
        models: a row a model: `KEY`, best_epoch, epochs, whether these limited it, and its
            diagnostics (such as alpha).
        results: a row a number: `KEY` and `RESULT`.
        history: a row an epoch: `KEY`, epoch, and what there is of `PROGRESS` and of diagnostics.
    """

    models: list[Row]
    results: list[Row]
    history: list[Row]

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> Study:
        """The study that these make up."""
        study = cls([], [], [])
        for trial in trials:
            cell, key = trial.cell, trial.key
            kept = (*PROGRESS, *cell.diagnostics)
            fit = {
                "best_epoch": cell.best_epoch,
                "epochs": len(cell.history),
                "limited": cell.limited,
            }
            study.models.append(key | fit | cell.diagnostics)
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
        write_rows(folder / "models.csv", self.models, (*KEY, "best_epoch", "epochs", "limited"))
        write_rows(folder / "results.csv", self.results, (*KEY, *RESULT))
        write_rows(folder / "history.csv", self.history, (*KEY, "epoch"))

    @classmethod
    def read(cls, folder: Path) -> Study:
        """What `write` wrote."""
        return cls(*(read_rows(folder / f"{n}.csv") for n in ("models", "results", "history")))


def write_judged(users: Path, lists: Path, trials: Sequence[Trial]) -> None:
    """Every user's values and list, a row a model, split and user.

    `users`: `KEY`, split, user, relevant (how many items there were to be found), and a column a
    measure. `lists`: `KEY`, split, user, and items, best first. Users and items are row numbers of
    `data/prepared/users.parquet` and `items.parquet`.
    """
    key = [(name, TYPES[name]) for name in (*KEY, "split")] + [("user", pa.int32())]
    measures = trials[0].cell.measures
    values = [("relevant", pa.int32()), *((str(m), pa.float64()) for m in measures)]
    with (
        atomic_path(users) as to_users,
        atomic_path(lists) as to_lists,
        pq.ParquetWriter(to_users, pa.schema(key + values), compression="zstd") as user_writer,
        pq.ParquetWriter(
            to_lists, pa.schema([*key, ("items", pa.list_(pa.int32()))]), compression="zstd"
        ) as list_writer,
    ):
        for trial in trials:
            for split in trial.cell.splits:
                found = trial.cell.judged(split)
                n = len(found.users)
                named = trial.key | {"split": split}
                common = [pa.array([named[c]] * n, TYPES[c]) for c in named] + [
                    pa.array(found.users)
                ]
                columns = [pa.array(column) for column in found.values.T]
                arrays = [*common, pa.array(found.relevant), *columns]
                user_writer.write_table(pa.Table.from_arrays(arrays, schema=user_writer.schema))
                arrays = [*common, _ragged(found.lists)]
                list_writer.write_table(pa.Table.from_arrays(arrays, schema=list_writer.schema))


def _ragged(lists: NDArray[np.int32]) -> pa.ListArray:
    """(n, L) items, negative after the last of a row, as lists."""
    shown = lists >= 0
    offsets = np.concatenate([[0], shown.sum(1).cumsum()])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(lists[shown]))


def headlines(dataset: str, results: Iterable[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """The few numbers that people compare: catalogue → split → name@k → value, to 6 digits.

    They stand under their catalogue's name, its path in data/raw or its address, so that `dvc
    metrics diff` does not subtract one catalogue's numbers from another's.
    """
    folder = Path(dataset)
    name = folder.relative_to(RAW) if folder.is_relative_to(RAW) else dataset
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
    options = pc.ConvertOptions(column_types=TYPES, strings_can_be_null=True)
    rows: list[Row] = pc.read_csv(path, convert_options=options).to_pylist()
    return rows
