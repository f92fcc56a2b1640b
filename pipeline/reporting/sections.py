"""What stands where in the report."""

from collections import Counter
from dataclasses import dataclass, field, replace

from pipeline.common import paths
from pipeline.common.params import Params
from pipeline.reporting import captions
from pipeline.reporting.captions import Figure
from pipeline.reporting.comparisons import (
    ACCURACY,
    alpha_table,
    comparison_table,
    curves_table,
    gains_table,
    layers_table,
    trained_table,
)
from pipeline.reporting.descriptions import (
    dataset_table,
    failures_table,
    modalities_table,
    parameters_table,
    remarks_table,
)
from pipeline.reporting.findings import findings
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.scores import Scores
from pipeline.reporting.table import SELECTED_BY, Table, at_depth

SHOWN_FAILURES = 20


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    text: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """The pages' content, and every table as it goes to a file."""

    subtitle: str
    sections: list[Section]
    files: list[Table]


def build(inputs: Inputs) -> Report:
    """The whole report, from the inputs alone."""
    scores, params, study = Scores(inputs.study.results), inputs.params, inputs.study
    selected = scores.select(params.layers)
    compared = {metric: comparison_table(scores, selected, metric) for metric in ACCURACY}
    comparisons = compared if selected else {}  # nothing was evaluated
    layers = layers_table(scores)
    gains = gains_table(scores, selected)
    alpha = alpha_table(study.models)
    curves = curves_table(
        [row for row in study.history if row["layers"] == selected.get(row["system"], -1)],
        "system",
        "curves",
        f"Losses and validation {SELECTED_BY} by epoch at each system's selected depth, "
        "mean over seeds",
    )
    alpha_curves = curves_table(
        [row for row in study.history if row.get("alpha") is not None],
        "layers",
        "alpha-curves",
        "α by epoch and depth, mean over seeds",
    )
    trained = trained_table(inputs.results)
    dataset = dataset_table(inputs.summary)
    modalities = modalities_table(inputs.summary, inputs.embeddings, inputs.failures)
    failures, remarks = failures_table(inputs.failures), remarks_table(inputs.remarks)
    parameters = parameters_table(inputs.parameters)
    systems = Section(
        "Systems compared",
        [_how_compared(inputs, selected, scores.validated)],
        [*captions.of_comparisons(comparisons)],
        list(comparisons.values()),
    )
    depth = Section(
        "Depth",
        ["K propagation layers; K = 0 is matrix factorisation. Means over seeds."],
        [*captions.of_depths(layers)],
        _depth_tables(layers, selected, scores.validated),
    )
    training = Section(
        "Training",
        ["A curve is a mean over seeds and ends where its first seed stopped early."],
        [*captions.of_training(curves, alpha_curves)],
        _present(alpha),
    )
    sections = [
        Section(
            "Findings",
            findings(inputs, scores, selected, gains, alpha),
            [*captions.of_gains(gains)],
            _present(gains),
        ),
        *(section for section in (systems, depth, training) if section.figures or section.tables),
        Section(
            "The trained model",
            [f"{trained_in_words(params)}: `{paths.MODEL}`, what `dvc metrics diff` compares."],
            [*captions.of_trained(inputs.history)],
            [trained] if trained.rows else [],
        ),
        Section("Data", _data_notes(inputs), [], [dataset, modalities, *_first(failures)]),
        Section("Parameters", [], [], [parameters]),
    ]
    return Report(
        _subtitle(inputs),
        sections,
        _present(
            dataset, modalities, failures, remarks, *comparisons.values(),
            layers if layers.rows else None, gains, curves, alpha, alpha_curves,
            trained if trained.rows else None, parameters,
        ),
    )  # fmt: skip


def _present(*tables: Table | None) -> list[Table]:
    return [table for table in tables if table is not None]


def _subtitle(inputs: Inputs) -> str:
    kind = "a synthetic catalogue" if inputs.summary["synthetic"] else "catalogue"
    return (
        f"{kind}: {inputs.summary['users']:,} users, {inputs.summary['items']:,} items, "
        f"{sum(inputs.summary['interactions'].values()):,} interactions "
        f"({inputs.summary['dataset']})"
    )


def _how_compared(inputs: Inputs, selected: dict[str, int | None], validated: bool) -> str:
    depth = (
        f"the depth K that validation {SELECTED_BY} selected"
        if validated
        else f"K = {inputs.params.layers}, by params.yaml (its least, where it was not fitted with "
        "that): without a validation split, nothing is selected"
    )
    text = (
        f"Each system at {depth}; "
        f"{len(inputs.params.study.seeds)} seeds. Bold: the highest mean of a column."
    )
    if None in selected.values():
        text += " Systems without depth show –."
    if any(model["seed"] is None for model in inputs.study.models):
        text += " A system that reads no seed has one value, without an interval."
    return text


def _depth_tables(layers: Table, selected: dict[str, int | None], validated: bool) -> list[Table]:
    """A table a system that has depths, and one of all systems that have none."""
    selects = "validation selected" if validated else "compared at"
    tables = [
        replace(
            layers.where("system", system).without("system"),
            name=f"layers-{system}",
            caption=f"{system}: metrics by depth; {selects} {at_depth(depth)}",
        )
        for system, depth in selected.items()
        if depth is not None
    ]
    flat = layers.where("layers", None).without("layers")
    if flat.rows:
        tables.append(replace(flat, name="layers-none", caption="Metrics of systems without depth"))
    return tables


def _data_notes(inputs: Inputs) -> list[str]:
    notes = [f"Dataset `{inputs.summary['dataset']}`."]
    if inputs.summary["synthetic"]:
        notes[0] += (
            " It is synthetic: real media files, drawn from hidden topics that words, shapes, "
            "sounds and motions express and that users like."
        )
    core = inputs.summary["k_core"]
    notes.append(
        f"Split: {inputs.summary['split']}. Ratings: {inputs.summary['ratings']}."
        + (f" Users and items have at least {core} interactions each." if core > 1 else "")
    )
    if not inputs.failures:
        notes.append("Every item that has a modality was encoded.")
    if inputs.remarks:
        counts = Counter(row["modality"] for row in inputs.remarks)
        shown = ", ".join(f"{n:,} of {modality}" for modality, n in counts.items())
        notes.append(f"Damaged, and decoded as far as that goes: {shown} (tables/remarks.csv).")
    return notes


def _first(failures: Table) -> list[Table]:
    """What a page shows of the failures: nothing, all, or the first of them."""
    if not failures.rows:
        return []
    if len(failures.rows) <= SHOWN_FAILURES:
        return [failures]
    return [
        replace(
            failures,
            rows=failures.rows[:SHOWN_FAILURES],
            caption=f"The first {SHOWN_FAILURES} of {len(failures.rows):,} items that could "
            "not be encoded; all of them are in tables/failures.csv",
        )
    ]


def trained_in_words(params: Params) -> str:
    """The trained model in words, with depth and seed if its system reads them."""
    read = params.systems[params.fusion].reads
    words = {"layers": f"K = {params.layers}", "seed": f"seed {params.seed}"}
    known = [text for key, text in words.items() if key in read]
    return ", ".join([f"`fusion: {params.fusion}`", *known])
