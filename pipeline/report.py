"""Stage `report`: what the study and the trained model show, as a page, in Markdown and as files.

    python -m pipeline.report

Writes `reports/index.html` (stands alone), `reports/report.md`, `reports/tables/*.csv` and
`reports/figures/*.svg`. What is reported follows from params.yaml, not from what lies on disk.
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.csv as pc
import pyarrow.parquet as pq
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from encoders import modalities
from pipeline import figures, paths
from pipeline.files import atomic_folder, atomic_write, read_table, run, write_csv
from pipeline.params import PARAMS, Params, load, read_yaml
from pipeline.tables import (
    BASELINE,
    METRICS,
    SELECTION,
    TITLES,
    Estimate,
    Table,
    alpha_table,
    comparison_table,
    curves_table,
    dataset_table,
    evaluated_split,
    gains_table,
    layers_table,
    modalities_table,
    parameters_table,
    select_layers,
    trained_table,
)

log = logging.getLogger("report")

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Inputs:
    """Everything that a report is made from."""

    params: Params
    parameters: dict[str, Any]  # params.yaml as it stands
    summary: dict[str, Any]  # data/prepared/summary.json
    embeddings: dict[str, dict[str, str]]  # modality → schema metadata
    failures: list[dict[str, str]]  # modality, item_id, source, reason
    results: list[dict[str, Any]]  # a row a cell of the study
    history: list[dict[str, Any]]  # a row an epoch of each cell
    metrics: dict[str, dict[str, float]]  # reports/metrics.json
    trained: list[dict[str, Any]]  # reports/history.csv


@dataclass(frozen=True)
class Plot:
    """One figure: `caption` says what is drawn, `alt` what it shows."""

    name: str
    caption: str
    alt: str
    svg: str


@dataclass
class Section:
    """A heading with what stands below it."""

    title: str
    text: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The pages' content, and every table as it goes to a file."""

    subtitle: str
    sections: list[Section]
    files: list[Table]


def read_inputs() -> Inputs:
    """Read what the earlier stages wrote."""
    params = load()
    results, history = [], []
    for variant in params.study.systems:
        results += _read_csv(paths.STUDY / variant / "results.csv")
        history += _read_csv(paths.STUDY / variant / "history.csv")
    failures = [
        {"modality": modality} | row
        for modality in modalities()
        for row in read_table(paths.failures_path(modality), {}, ()).to_pylist()  # ids stay texts
    ]
    metadata = {m: pq.read_schema(paths.embeddings_path(m)).metadata for m in modalities()}
    return Inputs(
        params=params,
        parameters=read_yaml(PARAMS),
        summary=json.loads(paths.SUMMARY.read_text()),
        embeddings={
            modality: {key.decode(): value.decode() for key, value in pairs.items()}
            for modality, pairs in metadata.items()
        },
        failures=failures,
        results=results,
        history=history,
        metrics=json.loads(paths.METRICS.read_text()),
        trained=_read_csv(paths.HISTORY),
    )


def _read_csv(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV file of numbers and names."""
    rows: list[dict[str, Any]] = pc.read_csv(path).to_pylist()
    return rows


def build(inputs: Inputs) -> Report:
    """All sections, from the inputs alone."""
    results, trained = inputs.results, inputs.params
    selected = select_layers(results, trained.layers)
    chosen = [row for row in inputs.history if row["layers"] == selected[row["variant"]]]
    comparison = {metric: comparison_table(results, selected, metric) for metric in METRICS}
    layers, gains, alpha = (
        layers_table(results),
        gains_table(results, selected),
        alpha_table(results),
    )
    curves = curves_table(
        chosen, "variant", "curves",
        "Losses and validation NDCG@10 by epoch at each variant's selected depth, mean over seeds",
    )  # fmt: skip
    weighed = [row for row in inputs.history if row["alpha"] is not None]
    alpha_curves = curves_table(
        weighed, "layers", "alpha-curves", "α by epoch and depth, mean over seeds"
    )
    failures = Table(
        "failures", "Items that could not be encoded",
        ("modality", "item_id", "source", "reason"),
        tuple(tuple(row.values()) for row in inputs.failures),
    )  # fmt: skip
    dataset, modalities = (
        dataset_table(inputs.summary),
        modalities_table(inputs.summary, inputs.embeddings, _count_failures(inputs)),
    )
    parameters, metrics = parameters_table(inputs.parameters), trained_table(inputs.metrics)
    sections = [
        Section(
            "Findings",
            findings(inputs, selected, comparison["ndcg"], gains, alpha),
            list(_gain_plots(gains)),
            [gains] if gains else [],
        ),
        Section(
            "Variants compared",
            [
                "Each variant at the depth K that validation NDCG@10 selected; "
                f"{len(trained.study.seeds)} seeds. Bold: the highest mean of a column."
            ],
            list(_comparison_plots(comparison)),
            list(comparison.values()),
        ),
        Section(
            "Depth",
            ["K propagation layers; K = 0 is matrix factorisation. Means over seeds."],
            [_depth_plot(layers)],
            [_of_variant(layers, variant, selected[variant]) for variant in selected],
        ),
        Section(
            "Training",
            ["A curve is a mean over seeds and ends where its first seed stopped early."],
            list(_training_plots(curves, alpha_curves)),
            [alpha] if alpha else [],
        ),
        Section(
            "The trained model",
            [
                f"`fusion: {trained.fusion}`, K = {trained.layers}, seed {trained.seed}: "
                f"`{paths.MODEL}`, what `dvc metrics diff` compares."
            ],
            list(_trained_plots(inputs.trained)),
            [metrics],
        ),
        Section("Data", _data_notes(inputs), [], [dataset, modalities]),
        Section("Parameters", [], [], [parameters]),
    ]
    if failures.rows:
        shown = replace(failures, rows=failures.rows[:SHOWN_FAILURES])
        if len(failures.rows) > SHOWN_FAILURES:
            shown = replace(
                shown,
                caption=f"The first {SHOWN_FAILURES} of {len(failures.rows):,} items that could "
                "not be encoded; all of them are in tables/failures.csv",
            )
        sections[-2].tables.append(shown)
    files = [
        dataset, modalities, failures, *comparison.values(), layers, gains, curves, alpha,
        alpha_curves, metrics, parameters,
    ]  # fmt: skip
    kind = "a synthetic catalogue" if inputs.summary["synthetic"] else "catalogue"
    return Report(
        f"{kind}: {inputs.summary['users']:,} users, {inputs.summary['items']:,} items, "
        f"{sum(inputs.summary['interactions'].values()):,} interactions "
        f"({inputs.summary['dataset']})",
        sections,
        [table for table in files if table is not None],
    )


def findings(
    inputs: Inputs,
    selected: dict[str, int],
    ndcg: Table,
    gains: Table | None,
    alpha: Table | None,
) -> list[str]:
    """Sentences that follow from the tables, each with its figures."""
    return [
        *_does_content_help(inputs.results, selected, ndcg, gains),
        *_depth_and_gain(gains),
        *_balance(alpha, selected),
        *_caveats(inputs),
    ]


def _does_content_help(
    results: list[dict[str, Any]], selected: dict[str, int], ndcg: Table, gains: Table | None
) -> Iterator[str]:
    if gains is None:
        yield f"There is nothing to compare: the study needs `{BASELINE}` and another variant."
        return
    split = evaluated_split(results)
    validation = f"validation_{SELECTION}"
    if validation in results[0]:

        def by_validation(variant: str) -> float:
            return fmean(
                row[validation]
                for row in results
                if (row["variant"], row["layers"]) == (variant, selected[variant])
            )

        best = max(gains["variant"], key=by_validation)
        reach = dict(zip(ndcg["variant"], ndcg[SELECTION], strict=True))
        gain = gains.where("variant", best)["selected depths"][0]
        yield (
            f"Of the variants with content, validation prefers `{best}` (K = {selected[best]}). "
            f"Its {split} NDCG@10 is {reach[best].mean:.4f}, that of `{BASELINE}` "
            f"(K = {selected[BASELINE]}) {reach[BASELINE].mean:.4f}: a difference of "
            f"{_signed(gain)}, so content {_verdict(gain)}."
        )
    for verdict in ("helps", "hurts"):
        names = [
            f"`{variant}` ({_signed(gain)})"
            for variant, gain in zip(gains["variant"], gains["selected depths"], strict=True)
            if _verdict(gain).startswith(verdict)
        ]
        side = "above" if verdict == "helps" else "below"
        if names:
            yield f"Intervals that lie wholly {side} `{BASELINE}`: {', '.join(names)}."
    yield (
        "An interval covers the seeds (initialisation, negatives, projections), not the choice of "
        "users or of this split, and is not corrected for the number of variants."
    )


def _verdict(gain: Estimate) -> str:
    if gain.half is None:
        return "cannot be judged: one seed gives no interval"
    if gain.low > 0:
        return "helps here: the interval lies above zero"
    if gain.high < 0:
        return "hurts here: the interval lies below zero"
    return "makes no difference that these seeds can show: the interval includes zero"


def _signed(gain: Estimate) -> str:
    shown = f"{gain.mean:+.4f}"
    if gain.half is not None:
        shown += f", 95 % interval [{gain.low:+.4f}, {gain.high:+.4f}]"
    return shown.replace("-", "−")


def _depth_and_gain(gains: Table | None) -> Iterator[str]:
    depths = [c for c in gains.columns if c.startswith("K = ")] if gains else []
    if gains and len(depths) > 1:
        first, last = (fmean(gain.mean for gain in gains[c]) for c in (depths[0], depths[-1]))
        yield (
            f"At equal depth the variants with content gain {first:+.4f} on average at {depths[0]} "
            f"and {last:+.4f} at {depths[-1]}: propagation "
            f"{'takes over part of what content gives' if last < first else 'adds to content'}."
        ).replace("-", "−")


def _balance(alpha: Table | None, selected: dict[str, int]) -> Iterator[str]:
    if alpha:
        for variant, layers, value in alpha.rows:
            if layers == selected[variant]:
                yield (
                    f"`{variant}` (K = {layers}) ends at α = {alpha.text(value)}: "
                    f"{100 * value.mean:.0f} % of the weight on the collaborative embedding."
                )


def _caveats(inputs: Inputs) -> Iterator[str]:
    if inputs.summary["synthetic"]:
        yield (
            "The catalogue is synthetic: its figures show that the pipeline works and finds a "
            "planted relation, not how good a recommender is elsewhere."
        )
    random = [m for m, d in inputs.embeddings.items() if d.get("weights", "").startswith("random")]
    if random:
        yield (
            f"The encoders of {', '.join(random)} have random weights, not pretrained ones: their "
            "vectors hold little of what an item shows."
        )


def _data_notes(inputs: Inputs) -> list[str]:
    notes = [f"Dataset `{inputs.summary['dataset']}`."]
    if inputs.summary["synthetic"]:
        notes[0] += (
            " It is synthetic: real media files, drawn from hidden topics that words, shapes, "
            "sounds and motions express and that users like."
        )
    if not inputs.failures:
        notes.append("Every item that has a modality was encoded.")
    return notes


def _count_failures(inputs: Inputs) -> dict[str, int]:
    return {m: sum(row["modality"] == m for row in inputs.failures) for m in inputs.embeddings}


def _of_variant(layers: Table, variant: str, selected: int) -> Table:
    return replace(
        layers.where("variant", variant).without("variant"),
        name=f"layers-{variant}",
        caption=f"{variant}: metrics by depth; validation selected K = {selected}",
    )


def _gain_plots(gains: Table | None) -> Iterator[Plot]:
    if gains:
        column = "selected depths"
        yield Plot(
            "gains",
            f"NDCG@10 less that of {BASELINE} at the selected depths, with 95 % intervals",
            _describe(gains, column),
            figures.differences(gains, column),
        )


def _comparison_plots(comparison: dict[str, Table]) -> Iterator[Plot]:
    for metric, table in reversed(comparison.items()):
        column = f"{metric}@10"
        yield Plot(
            f"bars-{metric}",
            f"{_upper(TITLES[metric])}@10 by model, with 95 % intervals",
            _describe(table, column),
            figures.bars(table, column),
        )
    columns = [f"{metric}@10" for metric in comparison]
    yield Plot(
        "bars-by-model",
        "The three metrics at 10, model by model, with 95 % intervals",
        "; ".join(_describe(t, c) for t, c in zip(comparison.values(), columns, strict=True)),
        figures.bars_by_model(list(comparison.values()), columns),
    )


def _depth_plot(layers: Table) -> Plot:
    shown = "; ".join(
        f"{variant} at K = {k} {value.mean:.4f}"
        for variant, k, value in zip(
            layers["variant"], layers["layers"], layers[SELECTION], strict=True
        )
    )
    return Plot(
        "depth",
        "NDCG@10 by number of propagation layers, with 95 % intervals",
        f"Line chart of NDCG@10. {shown}",
        figures.depths(layers, SELECTION),
    )


def _training_plots(curves: Table | None, alpha_curves: Table | None) -> Iterator[Plot]:
    shown = {
        "train_loss": "Training loss (BPR) by epoch",
        "validation_loss": "Validation loss (BPR) by epoch",
        SELECTION: "Validation NDCG@10 by epoch",
    }
    for column, caption in shown.items():
        if curves and any(value is not None for value in curves[column]):
            yield Plot(
                f"curves-{_slug(column)}",
                caption,
                f"Line chart. {_ends(curves, column)}",
                figures.curves(curves, column, caption.removesuffix(" by epoch")),
            )
    if alpha_curves:
        yield Plot(
            "curves-alpha",
            "Weight α of the collaborative embedding by epoch",
            f"Line chart of α. {_ends(alpha_curves, 'alpha')}",
            figures.curves(alpha_curves, "alpha", "α"),
        )


def _trained_plots(rows: list[dict[str, Any]]) -> Iterator[Plot]:
    table = Table("history", "", tuple(rows[0]), tuple(tuple(row.values()) for row in rows))
    losses = [c for c in ("train_loss", "validation_loss") if c in table.columns]
    yield Plot(
        "trained-losses",
        "The trained model: losses by epoch",
        f"Line chart. After {len(rows)} epochs: "
        + ", ".join(f"{c.replace('_', ' ')} {table[c][-1]:.4f}" for c in losses),
        figures.history(table, losses, "Loss (BPR)"),
    )
    if SELECTION in table.columns:
        best = max(table[SELECTION])
        yield Plot(
            "trained-ndcg",
            "The trained model: validation NDCG@10 by epoch",
            f"Line chart. Highest value {best:.4f} at epoch {1 + table[SELECTION].index(best)} "
            f"of {len(rows)}",
            figures.history(table, [SELECTION], "Validation NDCG@10"),
        )


def _describe(table: Table, column: str) -> str:
    """A chart's values in words."""
    values = zip(table["variant"], table[column], strict=True)
    return f"{column}: " + ", ".join(f"{variant} {table.text(value)}" for variant, value in values)


def _ends(table: Table, column: str) -> str:
    """Where each curve ends."""
    by = table.columns[0]
    last = {value: table.where(by, value)[column][-1] for value in dict.fromkeys(table[by])}
    shown = (
        f"{'K = ' if by == 'layers' else ''}{value} {end:.4f}"
        for value, end in last.items()
        if end is not None
    )
    return "At the end: " + ", ".join(shown)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


def render(report: Report, template: str) -> str:
    """One page, by a template of `pipeline/templates/`."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": _inline, "code": _code, "cell": _cell, "slug": _slug}
    return environment.get_template(template).render(report=report)


def _inline(plot: Plot) -> Markup:
    return Markup(figures.inline(plot.svg, plot.name, plot.alt))  # noqa: S704 - our own drawing


def _code(text: str) -> Markup:
    """`name` in a sentence as HTML."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False)))


def _cell(text: str) -> str:
    """A value as a cell of a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def write(report: Report) -> None:
    """Write tables, figures and pages; what an earlier run left in their folders goes."""
    with atomic_folder(paths.TABLES) as folder:
        for table in report.files:
            write_csv(folder / f"{table.name}.csv", table.to_arrow())
    with atomic_folder(paths.FIGURES) as folder:
        for section in report.sections:
            for plot in section.plots:
                atomic_write(folder / f"{plot.name}.svg", plot.svg)
    atomic_write(paths.REPORTS / "report.md", render(report, "report.md.j2"))
    atomic_write(paths.REPORTS / "index.html", render(report, "report.html.j2"))


def main() -> None:
    report = build(read_inputs())
    write(report)
    log.info(
        "%d tables, %d figures -> %s",
        len(report.files),
        sum(len(section.plots) for section in report.sections),
        paths.REPORTS / "index.html",
    )


if __name__ == "__main__":
    run(main)
