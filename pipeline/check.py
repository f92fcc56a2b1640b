"""What is wrong with a catalogue, all of it at once; what is right; and what running it will cost.

    python -m pipeline.check <folder>

The parameters are those of params.yaml; the workspace stays as it is. Exit code 1 if the pipeline
would refuse the catalogue.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from encoders import modalities
from pipeline.catalogue.inspection import Inspection, inspect
from pipeline.catalogue.manifests import Counts
from pipeline.catalogue.raw import INTERACTION_COLUMNS
from pipeline.catalogue.splits import Selection
from pipeline.checking.costs import costs
from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.common.params import Params, load
from pipeline.common.places import Place, place_of
from pipeline.common.tables import columns_of


def add_failures(found: Inspection, params: Params) -> None:
    """Say which modalities the stages would refuse, for too many of their items are of no use."""
    for modality, counts in found.counts.items():
        raw = modality in modalities()
        key = f"encode.{modality}" if raw else "prepare"
        most = params.encode[modality].max_failures if raw else params.prepare.max_failures
        if counts.useless > most * counts.items:
            found.problems.add(
                f"{modality}: {counts.useless:,} of {counts.items:,} items are of no use, more "
                f"than {key}.max_failures: {most:g} allows"
            )


def describe(selection: Selection) -> list[str]:
    """The interactions in sentences."""
    users, items, sizes = len(selection.user_ids), len(selection.items.ids), selection.sizes
    per_user = np.bincount(
        np.concatenate([t["user"].to_numpy() for t in selection.splits.values()]), minlength=users
    )
    lines = [
        f"{users:,} users, {items:,} items, {sum(sizes.values()):,} interactions "
        f"(a user has {int(np.median(per_user))} in the middle, {per_user.min()} to "
        f"{per_user.max()}); sparsity {100 * selection.sparsity:.2f} %",
        f"split: {selection.split} → "
        + ", ".join(f"{size:,} {name}" for name, size in sizes.items()),
        f"ratings: {selection.ratings}",
    ]
    cold = selection.cold_items, selection.cold_users
    if any(cold):
        lines.append(f"without training interactions: {cold[0]:,} items, {cold[1]:,} users")
    for name in ("validation", "test"):
        if not sizes[name]:
            lines.append(f"no {name} interactions: {_WITHOUT[name]}")
    return lines


_WITHOUT = {
    "validation": "nothing can be selected; the last epoch and `layers` are taken",
    "test": "systems are compared on validation, by which they are selected",
}


def cover(modality: str, counts: Counts, items: int) -> str:
    """A modality in a line."""
    share = 100 * counts.items / items if items else 0.0
    text = f"{modality}: {counts.items:,} of {items:,} items ({share:.0f} %)"
    return text + (f", {counts.useless:,} of them of no use" if counts.useless else "")


def check(dataset: Place, params: Params) -> bool:
    """Print what there is to say of `dataset`; whether the pipeline would take it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        inspect(dataset, params.prepare, Path(folder)) as found,
    ):
        add_failures(found, params)
        print(dataset)
        if found.selection:
            for line in describe(found.selection):
                print(f"  {line}")
            table = found.interactions.path if found.interactions else None
            if table and (unused := sorted({*columns_of(table)} - {*INTERACTION_COLUMNS})):
                print(f"  {table.name}: columns that nothing uses: {', '.join(unused)}")
            for modality, counts in found.counts.items():
                print(f"  {cover(modality, counts, len(found.selection.items.ids))}")
        for number, message in enumerate(found.problems.found, 1):
            print(f"wrong {number}: {message}")
        for modality, counts in found.counts.items():
            for example in counts.examples:
                print(f"lost: {example}")
            if counts.examples and (more := counts.useless - len(counts.examples)):
                print(f"lost: {more:,} more files of {modality}")
        if found.problems.found:
            return False
        if found.selection:
            print("to run it (`dvc repro`):", flush=True)
            for line in costs(found.selection, dataset, found.manifests, params):
                print(f"  {line}", flush=True)
    return True


def main() -> None:
    if len(sys.argv) != 2:
        raise InputError("usage: python -m pipeline.check <folder of a catalogue>")
    if not check(place_of(sys.argv[1]), load()):
        sys.exit(1)


if __name__ == "__main__":
    run_stage(main)
