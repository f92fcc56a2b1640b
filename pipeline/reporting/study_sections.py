"""What the study's numbers fill of the report."""

from __future__ import annotations

from dataclasses import replace

from model.controls import CONTROLS
from pipeline.common.places import place_of
from pipeline.reporting import captions
from pipeline.reporting.comparisons import (
    ACCURACY,
    PAPER,
    beyond_table,
    comparison_table,
    controls_table,
    convergence_table,
    curves_table,
    gains_table,
    layers_table,
    measures,
    selection_table,
)
from pipeline.reporting.contrasts import Contrast, Evidence, ablations_table, contrasts_table
from pipeline.reporting.descriptions import loss_of
from pipeline.reporting.findings import findings
from pipeline.reporting.gallery import gallery
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.published import published_table
from pipeline.reporting.questions import OTHERS, Questions
from pipeline.reporting.refit import refit_table
from pipeline.reporting.scores import BASELINE, Scores, Setting
from pipeline.reporting.sections import Section, kept
from pipeline.reporting.slicing import items_table, sparsity_table, users_table
from pipeline.reporting.table import SELECTED_BY, Table, at_depth

SHOWN_SYSTEMS = 4  # in the gallery


def found(
    inputs: Inputs,
    evidence: Evidence | None,
    questions: Questions | None,
    alpha: Table | None,
    files: list[Table],
) -> Section:
    text = findings(inputs, evidence, questions, alpha)
    if evidence is None or questions is None:
        return Section("Findings", text)
    measured = f"{evidence.scores.split.capitalize()} {SELECTED_BY}"

    def table(name: str, less: str, other: str, contrasts: list[Contrast]) -> Table | None:
        return contrasts_table(f"against-{name}", f"{measured} {less}", other, contrasts)

    q = questions
    chosen, content = q.preferred, q.content
    against = table(
        "none", f"of each system less that of {BASELINE}, at selected depths", BASELINE, q.baseline
    )
    placebo = table(
        "placebo", "of each system less its own with every item's content at another item",
        "placebo", q.placebo,
    )  # fmt: skip
    own = table(
        "no-content", "of each system less its own without content", "no content", q.no_content
    )
    length = table(
        "unit-length", "of each system less its own with items of collaborative length",
        "unit length", q.unit_length,
    )  # fmt: skip
    rivals = [
        table(name, f"of each system less that of {one.system}, {why}", one.system, contrasts)
        for name, one, why, contrasts in (
            ("preferred", chosen, "which validation prefers", q.beside_preferred),
            ("content", content, "the best with content on validation", q.beside_content),
        )
        if one and (name == "preferred" or one != chosen)
    ]
    return Section(
        "Findings",
        text,
        [
            *captions.of_contrasts("gains", against, f"{SELECTED_BY} less {BASELINE}"),
            *captions.of_contrasts("gains-placebo", placebo, f"{SELECTED_BY} less own placebo"),
        ],
        kept(files, against, placebo),
        kept(files, own, *rivals, length),
    )


def compared(
    inputs: Inputs,
    evidence: Evidence,
    questions: Questions,
    alpha: Table | None,
    files: list[Table],
) -> list[Section]:
    """What the study's numbers fill."""
    scores = evidence.scores
    comparisons = {metric: comparison_table(evidence, metric) for metric in ACCURACY}
    with_content = [s for s in evidence.selected if inputs.reads_content(s)]
    layers = layers_table(scores)
    selected = {s: setting.layers for s, setting in evidence.selected.items()}
    sparsity = (
        sparsity_table(evidence, inputs.relations, questions.content.system)
        if questions.content
        else None
    )
    shown = gallery(
        {system: folder / "lists.parquet" for system, folder in inputs.folders.items()},
        [(s.system, s.layers) for s in _shown(evidence, questions)],
        inputs.params.study.seeds[0],
        scores.split,
        place_of(inputs.summary["dataset"]),
    )
    sections = [
        Section(
            "Systems compared",
            [_how_compared(inputs, evidence)],
            [*captions.of_comparisons({m: comparisons[m] for m in PAPER}, with_content)],
            kept(
                files,
                *(comparisons[m] for m in PAPER),
                refit_table(inputs, evidence),
                beyond_table(evidence),
            ),
            kept(files, *(comparisons[m] for m in ACCURACY if m not in PAPER)),
        ),
        Section(
            "Published and measured here",
            ["The paper's tables beside this study's."],
            [],
            kept(files, published_table(inputs.summary, scores, alpha)),
        ),
        Section(
            "Where a gain comes from",
            [
                *(f"{n.replace('_', ' ').capitalize()}: {what}." for n, what in CONTROLS.items()),
                "Each is fitted at the depth that validation selected for the system itself.",
            ],
            [],
            kept(
                files, controls_table(evidence), ablations_table(evidence, inputs.params.aggregate)
            ),
        ),
        Section(
            "Who gains",
            ["Users by how much they had done before, items by how often they were chosen before."],
            [*captions.of_sparsity(sparsity)],
            kept(
                files,
                sparsity,
                users_table(evidence, inputs.relations),
                items_table(evidence, inputs.relations),
            ),
        ),
        Section(
            "Recommendations",
            [shown.note] if shown else [],
            gallery=shown,
        ),
        Section(
            "Depth",
            ["K propagation layers; K = 0 is matrix factorisation. Validation selects."],
            [*captions.of_depths(layers)],
            kept(files, selection_table(evidence), gains_table(evidence)),
            _depth_tables(scores, layers, selected),
        ),
        training(inputs, selected, alpha, files, evidence),
    ]
    kept(files, layers, shown.table() if shown else None)
    return [section for section in sections if section]


def training(
    inputs: Inputs,
    selected: dict[str, int | None],
    alpha: Table | None,
    files: list[Table],
    evidence: Evidence | None = None,
) -> Section:
    history = [row for row in inputs.study.history if row["control"] is None]
    curves = curves_table(
        [row for row in history if row["layers"] == selected.get(row["system"], -1)],
        "system",
        "curves",
        f"Losses and validation {SELECTED_BY} by epoch at each system's selected depth, "
        "mean over seeds",
    )
    alpha_curves = curves_table(
        [row for row in history if row["system"] == "alpha" and row.get("alpha") is not None],
        "layers",
        "alpha-curves",
        "α of the system `alpha` by epoch and depth, mean over seeds",
    )
    kept(files, curves, alpha_curves)
    converged = convergence_table(evidence, inputs) if evidence else None
    return Section(
        "Training",
        ["A curve is a mean over seeds and ends where its first seed stopped early."],
        [*captions.of_training(curves, alpha_curves, loss_of(inputs.params))],
        kept(files, alpha),
        kept(files, converged),
    )


def _shown(evidence: Evidence, questions: Questions) -> list[Setting]:
    """Whose recommendations the gallery has: what to use, and what it is compared with."""
    wanted = [questions.preferred, questions.content, evidence.selected.get(BASELINE)]
    wanted += [evidence.selected.get(system) for system in ("ease", "itemknn", "popularity")]
    wanted += [s for s in evidence.selected.values() if s.system not in OTHERS]
    return list(dict.fromkeys(s for s in wanted if s is not None))[:SHOWN_SYSTEMS]


def _how_compared(inputs: Inputs, evidence: Evidence) -> str:
    depth = (
        f"the depth K that validation {SELECTED_BY} selected"
        if evidence.scores.validated
        else "the first depth of `study.layers`: without a validation split, nothing is selected"
    )
    seeds = len(inputs.params.study.seeds)
    text = (
        f"Each system at {depth}; {seeds} seed{'s' if seeds > 1 else ''}. Bold: the highest mean "
        "of a column, and every other that the sign-flip test over users alone (Holm-corrected) "
        "does not tell from it."
    )
    if any(setting.layers is None for setting in evidence.selected.values()):
        text += " Systems without depth show –."
    if any(model["seed"] is None for model in inputs.study.models):
        text += " A system that reads no seed has one value, without an interval."
    return text


def _depth_tables(scores: Scores, layers: Table, selected: dict[str, int | None]) -> list[Table]:
    """The paper's tables: one a system that has depths, and one of all that have none."""
    shown = measures(scores, *PAPER)
    selects = "validation selected" if scores.validated else "compared at"
    paper = layers.only("system", "layers", *shown)
    tables = [
        replace(
            paper.where("system", system).without("system"),
            name=f"layers-{system}",
            caption=f"{system}: metrics by depth; {selects} {at_depth(depth)} (bold)",
            bold=frozenset(
                (row, column)
                for row, k in enumerate(scores.depths[system])
                if k == depth
                for column in range(1 + len(shown))
            ),
        )
        for system, depth in selected.items()
        if depth is not None
    ]
    flat = paper.where("layers", None).without("layers")
    if flat.rows:
        tables.append(
            replace(flat, name="without-layers", caption="Metrics of systems without depth")
        )
    return tables
