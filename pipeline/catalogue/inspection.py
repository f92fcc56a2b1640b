"""A raw catalogue read as a whole: all that is wrong with it, and what it has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from encoders import modalities
from pipeline.catalogue.feature_files import modalities_without_encoder, suspect_features
from pipeline.catalogue.manifests import Counts, write_manifest
from pipeline.catalogue.problems import Problems
from pipeline.catalogue.raw import Interactions, Items, read_interactions, read_items
from pipeline.catalogue.splits import Selection, select
from pipeline.common.params import Prepare
from pipeline.common.places import Place, mirrored


@dataclass
class Inspection:
    """What a catalogue has, as far as it could be read.

    Attributes:
        problems: what is wrong; `refuse` raises them.
        items, interactions: its tables; None where one cannot be read.
        selection: what of it takes part; None where something is wrong.
        manifests: modality → its manifest.
        counts: modality → how many items have it, and of what use that is.
    """

    problems: Problems = field(default_factory=Problems)
    items: Items | None = None
    interactions: Interactions | None = None
    selection: Selection | None = None
    manifests: dict[str, Path] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)


def linked_folders(dataset: Path) -> list[Path]:
    """The links to folders that lie in a folder, however deep."""
    folders = (Path(at, name) for at, names, _ in os.walk(dataset) for name in sorted(names))
    return [folder for folder in folders if folder.is_symlink()]


@contextmanager
def inspect(dataset: Place, params: Prepare, folder: Path) -> Iterator[Inspection]:
    """Read all of `dataset`; manifests go to `folder`, and items are spooled there.

    InputError if it is at an address that cannot be reached.
    """
    tables = mirrored(dataset)
    found = Inspection()
    problems = found.problems
    if isinstance(dataset, Path) and (linked := linked_folders(dataset)):
        more = f" (and {len(linked) - 1:,} more)" if len(linked) > 1 else ""
        problems.add(
            f"{linked[0]}{more}: a link to a folder, which DVC does not look into: no change there "
            "would be noticed. Link each file (`cp -rs /where/it/lies .`), or the whole catalogue"
        )
    with ExitStack() as stack:
        with problems.gathered():
            found.items = stack.enter_context(read_items(tables, problems, folder))
        with problems.gathered():
            found.interactions = read_interactions(tables, found.items, problems)
        if found.items or found.interactions:
            suspect_features(tables, problems)
        if found.items and found.interactions and not problems.found:
            with problems.gathered():
                found.selection = select(found.interactions, found.items, params)
        items = found.selection.items if found.selection else found.items
        if items:
            for modality in (*modalities(), *modalities_without_encoder(tables)):
                with problems.gathered():
                    path = folder / f"{modality}.parquet"
                    found.counts[modality] = write_manifest(path, dataset, tables, items, modality)
                    found.manifests[modality] = path
        yield found
