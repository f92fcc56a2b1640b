"""What the report says of the trained model, the data and the parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.catalogue.names import slug_of
from pipeline.common import paths
from pipeline.common.params import Params
from pipeline.reporting import captions, maps
from pipeline.reporting.comparisons import trained_table
from pipeline.reporting.descriptions import (
    dataset_table,
    environment_table,
    failures_table,
    loss_of,
    modalities_table,
    parameters_table,
    remarks_table,
)
from pipeline.reporting.diagrams import diagrams
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.sections import Figure, Section, kept
from pipeline.reporting.table import Table

SHOWN_FAILURES = 20


def trained(inputs: Inputs, files: list[Table]) -> Section:
    text = (
        f"{trained_in_words(inputs.params)}: `{paths.MODEL}`, what `dvc metrics diff` compares; "
        "`reports/model-card.md` describes it."
    )
    if inputs.refitted:
        text += (
            " It was fitted on training and validation interactions together (`protocol: refit`): "
            "the split refit is test, of this model; the other splits and the curves are of the "
            "fit that validation selected, on training interactions alone."
        )
    tables = kept(files, trained_table(inputs.results))
    figures = [*captions.of_trained(inputs.history, loss_of(inputs.params))]
    return Section("The trained model", [text], figures, tables)


def drawn(inputs: Inputs, files: list[Table]) -> list[Section]:
    """Maps of what encoders and model make of the items, and how the systems work."""
    mapped = []
    everyone = [label or "" for v in inputs.vectors for label in v.labels or ()]
    common = maps.most_common([maps.first_of(label) for label in everyone if label])
    for v in inputs.vectors:
        slug, caption = slug_of(v.name), f"Items by {v.name}: two principal components"
        places = maps.coordinates(f"map-{slug}", caption, v.items, v.vectors, v.labels)
        kept(files, places)
        text = f"Scatter plot of {len(places.rows):,} items"
        mapped.append(Figure(places.name, caption, text, maps.drawing(places, v.name, common)))
    encoders = {m: metadata["model"] for m, metadata in inputs.embeddings.items()}
    p = inputs.params
    drawn = diagrams(p.study.systems, encoders, aggregate=p.aggregate, projection=p.projection)
    sections = [
        Section("What vectors hold", [_points(inputs)], mapped),
        Section(
            "How the systems work",
            ["Those of the paper that the study has."],
            drawn,
        ),
    ]
    return [section for section in sections if section]


def _points(inputs: Inputs) -> str:
    labelled = any(vectors.labels for vectors in inputs.vectors)
    return "Each point is an item" + (", by what it is about." if labelled else ".")


def data(inputs: Inputs, files: list[Table]) -> Section:
    failures, remarks = failures_table(inputs.failures), remarks_table(inputs.remarks)
    files += [failures, remarks]
    tables = kept(
        files,
        dataset_table(inputs.summary),
        modalities_table(inputs.summary, inputs.embeddings, inputs.failures),
    )
    return Section("Data", _data_notes(inputs), [], [*tables, *_first(failures)])


def parameters(inputs: Inputs, files: list[Table]) -> Section:
    run = dict.fromkeys([*inputs.params.study.systems, inputs.params.fusion])
    tables = kept(files, environment_table(), parameters_table(inputs.parameters, run))
    text = (
        "Everything that was chosen; of the systems' own parameters, those of the systems that "
        f"ran. What fitting took, here and now, is in `{paths.REPORTS / 'times.html'}`."
    )
    return Section("Parameters and environment", [text], [], tables)


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
