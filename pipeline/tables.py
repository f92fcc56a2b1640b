"""From per-cell results to the report's tables: pure functions, so that tests can recompute them.

A result is one row of `data/study/<variant>/results.csv`: variant, layers, seed, best_epoch, alpha
and `<split>_<metric>@<k>`. An epoch is one row of `history.csv` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa
from scipy.stats import t as student

from model import metrics as measures
from model.metrics import KS

BASELINE = "none"
CONFIDENCE = 0.95
SELECTION = str(measures.SELECTION)
METRICS = tuple(name for name, metric in measures.METRICS.items() if metric.accuracy)
TITLES = {name: metric.title for name, metric in measures.METRICS.items()}
CURVES = ("train_loss", "validation_loss", SELECTION, "alpha")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and the half-width of its 95 % t-interval; None with a single seed."""

    mean: float
    half: float | None

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and t-interval of independent values."""
    n = len(values)
    if n < 2:
        return Estimate(fmean(values), None)
    return Estimate(
        fmean(values), float(student.ppf((1 + CONFIDENCE) / 2, n - 1)) * stdev(values) / sqrt(n)
    )


@dataclass(frozen=True)
class Table:
    """Rows of values under named columns, as they go to a page and to a CSV file.

    Attributes:
        name: file stem and anchor.
        caption: one sentence for the reader.
        columns: names; `metric@k` columns are grouped by metric on the page.
        rows: one value a column: text, number, `Estimate`, or None.
        compared: columns whose highest value is set in bold.
        decimals: of numbers on the page; files hold them in full.
        signed: whether the page shows a plus sign.
        intervals: whether the page shows the half-widths too.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    compared: tuple[str, ...] = ()
    decimals: int = 4
    signed: bool = False
    intervals: bool = True

    def __getitem__(self, column: str) -> list[Any]:
        """The values of one column, from top to bottom."""
        index = self.columns.index(column)
        return [row[index] for row in self.rows]

    def where(self, column: str, value: Any) -> Table:
        """The rows in which `column` holds `value`."""
        index = self.columns.index(column)
        return replace(self, rows=tuple(row for row in self.rows if row[index] == value))

    def without(self, column: str) -> Table:
        """All columns but one."""
        index = self.columns.index(column)
        return replace(
            self,
            columns=self.columns[:index] + self.columns[index + 1 :],
            rows=tuple(row[:index] + row[index + 1 :] for row in self.rows),
        )

    @property
    def left(self) -> list[bool]:
        """Which columns hold text, and so align left."""
        return [all(isinstance(v, str) for v in self[column]) for column in self.columns]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring `metric@k` columns by metric: (metric, how many); other columns apart."""
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            metric = TITLES.get(column.partition("@")[0], "")
            if metric and groups and groups[-1][0] == metric:
                groups[-1] = (metric, groups[-1][1] + 1)
            else:
                groups.append((metric, 1))
        return groups if sum(metric != "" for metric, _ in groups) > 1 else []

    @property
    def bold(self) -> set[tuple[int, int]]:
        """(row, column) of the highest values of the compared columns, all that look equal."""
        cells = set()
        for column in self.compared:
            shown = [self.text(value, interval=False) for value in self[column]]
            numbers = [_number(value) for value in self[column]]
            if len(numbers) > 1:
                best = shown[numbers.index(max(numbers))]
                index = self.columns.index(column)
                cells |= {(row, index) for row, text in enumerate(shown) if text == best}
        return cells

    def text(self, value: Any, *, interval: bool = True) -> str:
        """`value` as the page shows it."""
        match value:
            case None:
                return "–"
            case bool():
                return "yes" if value else "no"
            case int():
                return f"{value:,}"
            case float():
                sign = "+" if self.signed else ""
                return f"{value:{sign}.{self.decimals}f}".replace("-", "−")
            case Estimate():
                shown = self.text(value.mean)
                if interval and self.intervals and value.half is not None:
                    shown += f" ± {value.half:.{self.decimals}f}"
                return shown
            case _:
                return str(value)

    def to_arrow(self) -> pa.Table:
        """The columns; an estimate makes two, its mean and its half-width."""
        arrays: dict[str, list[Any]] = {}
        for column in self.columns:
            values = self[column]
            if any(isinstance(value, Estimate) for value in values):
                arrays[column] = [value and value.mean for value in values]
                arrays[f"{column} ±"] = [value and value.half for value in values]
            else:
                arrays[column] = values
        return pa.table({n: pa.array(v, from_pandas=False) for n, v in arrays.items()})


def _number(value: Any) -> float:
    return float(value.mean if isinstance(value, Estimate) else value)


def evaluated_split(results: list[dict[str, Any]]) -> str:
    """What a comparison reads: test, or validation where the data have no test split."""
    return "test" if f"test_{SELECTION}" in results[0] else "validation"


def select_layers(results: list[dict[str, Any]], default: int) -> dict[str, int]:
    """Each variant's depth with the highest mean validation NDCG@10, the smaller one if tied.

    Without a validation split nothing can be selected: `default`, or a variant's smallest depth
    if it was not trained with `default`.
    """
    selected = {}
    for variant in _distinct(results, "variant"):
        mine = _where(results, variant=variant)
        depths = sorted(_distinct(mine, "layers"))
        if f"validation_{SELECTION}" in mine[0]:
            means = {k: _estimate(_where(mine, layers=k), "validation").mean for k in depths}
            selected[variant] = max(depths, key=lambda k: (means[k], -k))
        else:
            selected[variant] = default if default in depths else depths[0]
    return selected


def layers_table(results: list[dict[str, Any]]) -> Table:
    """Every metric of every variant at every depth, over the seeds."""
    split = evaluated_split(results)
    metrics = tuple(f"{metric}@{k}" for metric in METRICS for k in KS)
    rows = []
    for variant in _distinct(results, "variant"):
        mine = _where(results, variant=variant)
        for layers in _distinct(mine, "layers"):
            cells = _where(mine, layers=layers)
            rows.append((variant, layers, *(_estimate(cells, split, m) for m in metrics)))
    return Table(
        "layers",
        f"{split.capitalize()} metrics of each variant by depth, mean over seeds",
        ("variant", "layers", *metrics),
        tuple(rows),
        compared=metrics,
        intervals=False,
    )


def comparison_table(results: list[dict[str, Any]], selected: dict[str, int], metric: str) -> Table:
    """One metric of each variant at the depth that validation selected, over the seeds."""
    split = evaluated_split(results)
    columns = tuple(f"{metric}@{k}" for k in KS)
    rows = []
    for variant, layers in selected.items():
        cells = _where(results, variant=variant, layers=layers)
        rows.append((variant, layers, *(_estimate(cells, split, column) for column in columns)))
    return Table(
        f"comparison-{metric}",
        f"{split.capitalize()} {TITLES[metric]} at each variant's selected depth, "
        "mean over seeds ± half-width of the 95 % interval",
        ("variant", "layers", *columns),
        tuple(rows),
        compared=columns,
    )


def gains_table(results: list[dict[str, Any]], selected: dict[str, int]) -> Table | None:
    """NDCG@10 less that of `none`, paired by seed: at the selected depths, and at equal depths.

    None where `none` or every other variant was not studied.
    """
    split = evaluated_split(results)
    variants = [v for v in selected if v != BASELINE]
    if BASELINE not in selected or not variants:
        return None
    depths = _distinct(_where(results, variant=BASELINE), "layers")

    def by_seed(variant: str, layers: int) -> dict[int, float]:
        cells = _where(results, variant=variant, layers=layers)
        return {cell["seed"]: cell[f"{split}_{SELECTION}"] for cell in cells}

    def gain(variant: str, layers: int, base_layers: int) -> Estimate:
        mine, base = by_seed(variant, layers), by_seed(BASELINE, base_layers)
        return estimate([mine[seed] - base[seed] for seed in mine if seed in base])

    rows = (
        (variant, gain(variant, selected[variant], selected[BASELINE]))
        + tuple(gain(variant, layers, layers) for layers in depths)
        for variant in variants
    )
    return Table(
        "gains",
        f"{split.capitalize()} NDCG@10 less that of {BASELINE}, paired by seed, "
        "mean ± half-width of the 95 % interval",
        ("variant", "selected depths", *(f"K = {layers}" for layers in depths)),
        tuple(rows),
        signed=True,
    )


def alpha_table(results: list[dict[str, Any]]) -> Table | None:
    """Learned weight of the collaborative embedding by depth; None where no variant has one."""
    learned = [result for result in results if result["alpha"] is not None]
    rows = [
        (variant, layers, estimate([cell["alpha"] for cell in cells]))
        for variant in _distinct(learned, "variant")
        for layers in _distinct(_where(learned, variant=variant), "layers")
        if (cells := _where(learned, variant=variant, layers=layers))
    ]
    return _maybe(
        Table(
            "alpha",
            "Weight α of the collaborative embedding after training (1 − α is the content's), "
            "mean over seeds ± half-width of the 95 % interval",
            ("variant", "layers", "alpha"),
            tuple(rows),
        )
    )


def curves_table(history: list[dict[str, Any]], by: str, name: str, caption: str) -> Table | None:
    """Means over seeds, epoch by epoch, of each value of the column `by`.

    A curve ends where its first seed stopped: a mean over fewer seeds would jump.
    """
    rows: list[tuple[Any, ...]] = []
    for value in _distinct(history, by):
        mine = _where(history, **{by: value})
        seeds = _distinct(mine, "seed")
        last = min(max(row["epoch"] for row in _where(mine, seed=seed)) for seed in seeds)
        for epoch in range(1, last + 1):
            rows.append((value, epoch, *(_mean(_where(mine, epoch=epoch), c) for c in CURVES)))
    return _maybe(Table(name, caption, (by, "epoch", *CURVES), tuple(rows)))


def trained_table(metrics: dict[str, dict[str, float]]) -> Table:
    """`reports/metrics.json`: the metrics of the model that `train` made."""
    columns = tuple(f"@{k}" for k in KS)
    rows = tuple(
        (split, TITLES[metric], *(metrics[split][f"{metric}{column}"] for column in columns))
        for split in metrics
        for metric in METRICS
    )
    return Table("trained", "Metrics of the trained model", ("split", "metric", *columns), rows)


def dataset_table(summary: dict[str, Any]) -> Table:
    """`data/prepared/summary.json`: the catalogue in numbers (the paper's Table 1)."""
    rows = (
        ("users", summary["users"]),
        ("items", summary["items"]),
        *((f"{split} interactions", n) for split, n in summary["interactions"].items()),
        ("sparsity", summary["sparsity"]),
        ("cold items (no training interaction)", summary["cold_items"]),
    )
    return Table("dataset", "The catalogue", ("property", "value"), rows)


def modalities_table(
    summary: dict[str, Any], embeddings: dict[str, dict[str, str]], failures: dict[str, int]
) -> Table:
    """What became of every modality: items, embeddings, and where the weights come from."""
    rows = []
    for modality, metadata in embeddings.items():
        encoded = int(metadata["count"])
        rows.append(
            (
                modality,
                summary["modalities"][modality]["items"],
                encoded,
                100 * encoded / summary["items"],
                failures[modality],
                metadata["model"],
                int(metadata["width"]),
                _weights(metadata),
                metadata["license"],
            )
        )
    return Table(
        "modalities",
        "Items with each modality, and what encoded them",
        (
            "modality", "items", "encoded", "% of catalogue", "failures", "encoder", "width",
            "weights", "licence",
        ),
        tuple(rows),
        decimals=1,
    )  # fmt: skip


def _weights(metadata: dict[str, str]) -> str:
    source = metadata.get("weights", "not loaded: no item has this modality")
    if source.startswith("random"):
        source += ", not pretrained"
    if digest := metadata.get("weights_sha256"):
        source += f"; sha256 {digest[:12]}…"
    return source


def parameters_table(parameters: dict[str, Any]) -> Table:
    """Everything in params.yaml, a row a key."""

    def flat(value: Any, key: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from flat(inner, f"{key}.{name}" if key else str(name))
        elif isinstance(value, list):
            yield key, " ".join(map(str, value))
        else:
            yield key, str(value).lower() if isinstance(value, bool) else str(value)

    rows = tuple(flat(parameters, ""))
    return Table("parameters", "The parameters of this run", ("parameter", "value"), rows)


def _where(rows: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[key] == value for key, value in values.items())]


def _distinct(rows: list[dict[str, Any]], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _estimate(cells: list[dict[str, Any]], split: str, metric: str = SELECTION) -> Estimate:
    return estimate([cell[f"{split}_{metric}"] for cell in cells])


def _mean(rows: list[dict[str, Any]], column: str) -> float | None:
    values = [row[column] for row in rows if row.get(column) is not None]
    return fmean(values) if values else None


def _maybe(table: Table) -> Table | None:
    return table if table.rows else None
