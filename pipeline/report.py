"""Stage `report`: what the study and the trained model show, as a page, in Markdown and as files.

    python -m pipeline.report

Writes `reports/index.html` (stands alone), `reports/report.md`, `reports/model-card.md`,
`reports/tables/*.csv` and `reports/figures/*.svg`. What is reported follows from params.yaml, not
from what lies on disk. Equal inputs give equal bytes: what fitting took stands apart from all that,
in `reports/times.html`, which is no output of the stage.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open

from pipeline.catalogue.embeddings import Target, all_embeddings, metadata_of
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import atomic_folder, atomic_write, write_csv
from pipeline.common.params import PARAMS, load, read_yaml
from pipeline.common.tables import read_table
from pipeline.experiments.results import Study, read_rows
from pipeline.reporting.card import model_card
from pipeline.reporting.inputs import Inputs, Vectors
from pipeline.reporting.outline import build
from pipeline.reporting.pages import render
from pipeline.reporting.scores import Scores
from pipeline.reporting.sections import Report
from pipeline.reporting.slicing import Relations
from pipeline.reporting.times import times_report

log = logging.getLogger("report")

LABELS = ("topic", "genres", "genre", "categories", "category")
"""Columns of the items by which maps are coloured; the first that is there."""


def read_inputs() -> Inputs:
    """Read what the earlier stages wrote."""
    params = load()
    systems = params.study.systems
    files = all_embeddings()
    items = pq.read_table(paths.ITEMS)
    study = sum((Study.read(paths.STUDY / system) for system in systems), Study([], [], []))
    return Inputs(
        params=params,
        parameters=read_yaml(PARAMS),
        summary=json.loads(paths.SUMMARY.read_text()),
        embeddings={m: metadata_of(pq.read_schema(files[m].embeddings)) for m in files},
        failures=_listed({m: target.failures for m, target in files.items()}),
        remarks=_listed({m: target.remarks for m, target in files.items()}),
        study=study,
        folders={system: paths.STUDY / system for system in systems},
        relations=_relations(items, files, Scores(study.results).split),
        results=read_rows(paths.RESULTS),
        history=read_rows(paths.HISTORY),
        trained=(paths.MODEL, paths.TRAINED_USERS),
        vectors=list(_vectors(items, files)),
        newcomers=(pq.read_table(paths.NEW_ITEMS), pq.read_table(paths.NEW_USERS)),
    )


def _relations(items: pa.Table, files: Mapping[str, Target], split: str) -> Relations:
    ids = items["item_id"]
    train, relevant = (_codes(pq.read_table(paths.split_path(name))) for name in ("train", split))
    return Relations(
        train,
        relevant,
        pq.read_metadata(paths.USERS).num_rows,
        len(items),
        {
            modality: pc.is_in(
                ids, pq.read_table(target.embeddings, columns=["item_id"])["item_id"]
            ).to_numpy()
            for modality, target in files.items()
        },
    )


def _codes(split: pa.Table) -> NDArray[np.int64]:
    """(2, n) users and items."""
    return np.stack([split[column].to_numpy() for column in ("user", "item")]).astype(np.int64)


def _vectors(items: pa.Table, files: Mapping[str, Target]) -> Iterator[Vectors]:
    """Each modality's items with their labels, then the trained model's items."""
    ids = items["item_id"].to_pylist()
    column = next((name for name in LABELS if name in items.column_names), None)
    labels = dict(zip(ids, map(_label, items[column].to_pylist()), strict=True)) if column else None

    def of(name: str, some: list[str], vectors: NDArray[np.float32]) -> Vectors:
        return Vectors(name, some, [labels[i] for i in some] if labels else None, vectors)

    for modality, target in files.items():
        table = pq.read_table(target.embeddings)
        if len(table) > 1:
            flat = table["embedding"].combine_chunks().flatten().to_numpy()
            yield of(modality, table["item_id"].to_pylist(), flat.reshape(len(table), -1))
    with safe_open(paths.MODEL, framework="numpy") as file:
        if {"users", "items"} <= {*file.keys()}:  # its scores are inner products
            yield of("trained model", ids, file.get_tensor("items"))


def _label(value: object) -> str | None:
    """What stands there as a text: of a list, which Parquet may have, its first entry."""
    first = next(iter(value), None) if isinstance(value, list | tuple) else value
    return None if first is None else str(first)


def _listed(files: dict[str, Path]) -> list[dict[str, str]]:
    """The rows of every modality's file; ids are texts."""
    return [
        {"modality": modality} | row
        for modality, path in files.items()
        for row in read_table(path, {}, ()).to_pylist()
    ]


def write(report: Report) -> None:
    """Write tables, figures and pages; what an earlier run left in their folders goes."""
    with atomic_folder(paths.TABLES) as folder:
        for table in report.files:
            write_csv(folder / f"{table.name}.csv", table.to_arrow())
    with atomic_folder(paths.FIGURES) as folder:
        for section in report.sections:
            for figure in section.figures:
                atomic_write(folder / f"{figure.name}.svg", figure.svg)
    atomic_write(paths.REPORTS / "report.md", render(report, "report.md.j2"))
    atomic_write(paths.REPORTS / "index.html", render(report, "report.html.j2"))


def main() -> None:
    inputs = read_inputs()
    report = build(inputs)
    write(report)
    atomic_write(paths.REPORTS / "model-card.md", model_card(inputs))
    if times := times_report(inputs):
        atomic_write(paths.REPORTS / "times.html", render(times, "report.html.j2"))
    log.info(
        "%d tables, %d figures -> %s",
        len(report.files),
        sum(len(section.figures) for section in report.sections),
        paths.REPORTS / "index.html",
    )


if __name__ == "__main__":
    run_stage(main)
