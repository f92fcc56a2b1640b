"""Stage `report`: what the study and the trained model show, as a page, in Markdown and as files.

    python -m pipeline.report

Writes `reports/index.html` (stands alone), `reports/report.md`, `reports/tables/*.csv` and
`reports/figures/*.svg`. What is reported follows from params.yaml, not from what lies on disk.
"""

import json
import logging
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.catalogue.embeddings import all_embeddings
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import atomic_folder, atomic_write, write_csv
from pipeline.common.params import PARAMS, load, read_yaml
from pipeline.common.tables import read_table
from pipeline.experiments.results import Study, read_rows
from pipeline.reporting.inputs import Inputs
from pipeline.reporting.pages import render
from pipeline.reporting.sections import Report, build

log = logging.getLogger("report")


def read_inputs() -> Inputs:
    """Read what the earlier stages wrote."""
    params = load()
    systems = params.study.systems
    files = all_embeddings()
    metadata = {m: pq.read_schema(files[m].embeddings).metadata for m in files}
    return Inputs(
        params=params,
        parameters=read_yaml(PARAMS),
        summary=json.loads(paths.SUMMARY.read_text()),
        embeddings={
            modality: {key.decode(): value.decode() for key, value in pairs.items()}
            for modality, pairs in metadata.items()
        },
        failures=_listed({m: target.failures for m, target in files.items()}),
        remarks=_listed({m: target.remarks for m, target in files.items()}),
        study=sum((Study.read(paths.STUDY / system) for system in systems), Study([], [], [])),
        results=read_rows(paths.RESULTS),
        history=read_rows(paths.HISTORY),
    )


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
    report = build(read_inputs())
    write(report)
    log.info(
        "%d tables, %d figures -> %s",
        len(report.files),
        sum(len(section.figures) for section in report.sections),
        paths.REPORTS / "index.html",
    )


if __name__ == "__main__":
    run_stage(main)
