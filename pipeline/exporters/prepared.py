"""What `prepare` and `encode` left in the workspace, as exporters take it."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from encoders import modalities
from pipeline.catalogue.embeddings import Target, all_embeddings
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.common.places import new_folder, place_of

log = logging.getLogger("exporter")


@dataclass(frozen=True)
class Embedding:
    """One modality: (I, d) float32 and (I,) bool; vectors of items that lack it are zeros."""

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Prepared:
    """The catalogue of the workspace.

    Attributes:
        name: of the raw catalogue's folder.
        user_ids, item_ids: in the order of their codes.
        users, items, labels: (E,) codes, and 0, 1 or 2 for the splits in `SPLITS`.
        embeddings: modality → its vectors, for the modalities that any item has.
    """

    name: str
    user_ids: pa.Array
    item_ids: pa.Array
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    labels: NDArray[np.int64]
    embeddings: Mapping[str, Embedding]


def read_prepared() -> Prepared:
    """Read the workspace.

    Raises:
        InputError: a stage has not run yet, or not since the catalogue was prepared.
    """
    needed = [paths.ITEMS, paths.USERS, paths.SUMMARY, *map(paths.split_path, paths.SPLITS)]
    for path in [*needed, *(files.embeddings for files in all_embeddings().values())]:
        if not path.is_file():
            raise InputError(f"{path}: no such file; run `dvc repro` from the repository's root")
    for modality in modalities():
        _refuse_stale(modality)
    workspace = Workspace()
    dataset = workspace.dataset
    splits = [dataset.catalogue.train, dataset.validation, dataset.test]
    return Prepared(
        Path(json.loads(paths.SUMMARY.read_text())["dataset"]).name,
        pq.read_table(paths.USERS)["user_id"].combine_chunks(),
        workspace.item_ids.combine_chunks(),
        np.concatenate([split.users.numpy() for split in splits]),
        np.concatenate([split.items.numpy() for split in splits]),
        np.repeat(np.arange(len(splits)), [len(split) for split in splits]),
        {
            modality.name: Embedding(modality.vectors.numpy(), modality.present.numpy())
            for modality in dataset.catalogue.modalities
        },
    )


def _refuse_stale(modality: str) -> None:
    """InputError unless what was encoded are the items that the manifest has."""
    target = Target.encoded(modality)
    failed = pyarrow.csv.read_csv(
        target.failures,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types={"item_id": pa.string()}),
    )
    encoded = pq.read_table(target.embeddings, columns=["item_id"])["item_id"].to_pylist()
    wanted = pq.read_table(paths.manifest_path(modality), columns=["item_id"])["item_id"]
    differ = {*encoded, *failed["item_id"].to_pylist()} ^ {*wanted.to_pylist()}
    if differ:
        raise InputError(
            f"{target.embeddings}: was not encoded from the prepared catalogue: item "
            f"{min(differ)!r} is in one of them alone; run `dvc repro`"
        )


def check_plain(prepared: Prepared) -> None:
    """InputError if an id needs quotes in text: the formats' readers differ in what these mean."""
    for path, ids in ((paths.USERS, prepared.user_ids), (paths.ITEMS, prepared.item_ids)):
        bad = pc.match_substring_regex(ids, '["\t\r\n]')
        if pc.any(bad).as_py():
            row = pc.index(bad, True).as_py()
            raise InputError(
                f"{path}: id {ids[row].as_py()!r} has a tab, a quote or a new line; such ids "
                "cannot be exported as text; `python -m pipeline.exporters.pyg` exports them"
            )


def write_tsv(path: Path, *tables: pa.Table) -> None:
    """Write tables of one schema below each other, with a header and without quotes."""
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with path.open("wb") as file:
        file.write(("\t".join(tables[0].column_names) + "\n").encode())
        for table in tables:
            pyarrow.csv.write_csv(table, file, options)


def run_exporter(write: Callable[[Prepared, Path], None], *, text: bool) -> None:
    """Run an exporter's command; `write` fills an empty folder, with ids as `text` or not."""
    run_stage(lambda: export(write, text=text))


def export(write: Callable[[Prepared, Path], None], *, text: bool) -> None:
    """Write the workspace's catalogue into `<folder>/<its name>`, folder from the command line."""
    program, *arguments = sys.argv
    if len(arguments) != 1:
        raise InputError(f"usage: python -m pipeline.exporters.{Path(program).stem} <folder>")
    prepared = read_prepared()
    if text:
        check_plain(prepared)
    target = place_of(arguments[0]) / prepared.name
    with new_folder(target) as folder:
        write(prepared, folder)
    log.info(
        "%s: %d users, %d items, %d interactions; %s",
        target,
        len(prepared.user_ids),
        len(prepared.item_ids),
        len(prepared.users),
        ", ".join(
            f"{name}: {embedding.present.sum()} items, {(~embedding.present).sum()} without"
            for name, embedding in prepared.embeddings.items()
        ),
    )
