"""Fixtures that several test modules use."""

import atexit
import os
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from torch import Tensor

from model.dataset import Catalogue, Modality
from model.interactions import Interactions
from model.ranking import InnerProduct, Scorer

# Worker processes are forked from a server that imports what they need, from any folder; what is in
# the environment when it starts is all that they have of it.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
AWS = Path(mkdtemp(prefix="aws."))  # test_places.py fills it; nobody's own accounts are used
os.environ |= {
    "AWS_CONFIG_FILE": str(AWS / "config"),
    "AWS_SHARED_CREDENTIALS_FILE": str(AWS / "credentials"),
    "AWS_EC2_METADATA_DISABLED": "true",
}
atexit.register(rmtree, AWS, ignore_errors=True)


LONGEST = (
    "pipeline", "living", "report", "ray_engine", "encoders", "pretended_cuda", "distributed",
    "cells", "recommender", "workers", "ranks", "planted",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one at the end."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def random_interactions(users: int, items: int, edges: int, seed: int) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randint(users, (edges,), generator=generator)
    i = torch.randint(items, (edges,), generator=generator)
    return Interactions.of(u, i, users, items)


def catalogue_of(train: Interactions, *modalities: Modality) -> Catalogue:
    return Catalogue(train, list(modalities))


def rounding(scorer: Scorer, users: Tensor) -> Tensor:
    """(b, 1) how far apart a user's score of an item is at most, alone and among others.

    Products of matrices round it each in their way; other scorers give every user a sum of his own.
    """
    if isinstance(scorer, InnerProduct):
        return scorer.rounding(users)[:, None]
    return torch.zeros(len(users), 1)


@pytest.fixture
def checkerboard() -> Interactions:
    """50 users and 50 items; even users like even items, odd users odd ones; 6 each."""
    generator = torch.Generator().manual_seed(0)
    users = torch.arange(50).repeat_interleave(6)
    halves = torch.stack([torch.randperm(25, generator=generator)[:6] for _ in range(50)])
    return Interactions.of(users, halves.flatten() * 2 + users % 2, 50, 50)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a workspace of `studies` and its report; returns the folder `reports/`."""
    from studies import Model, write_workspace

    from pipeline import report

    monkeypatch.chdir(tmp_path)

    def made(models: list[Model], **inputs: Any) -> Path:
        write_workspace(tmp_path, models, **inputs)
        report.main()
        return tmp_path / "reports"

    return made


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that only say what they would draw: their kind, tables, columns and title."""
    undraw(monkeypatch)


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Replace the functions that draw, and that which decodes images in other processes."""
    from pipeline.reporting import figures, maps, tiles

    patch.setattr(tiles, "thumbnails", lambda *_: {})

    def words(argument: Any) -> str:
        many = argument if isinstance(argument, list) else [argument]
        many = sorted(argument) if isinstance(argument, set) else many
        return "+".join(str(getattr(one, "name", one)) for one in many)

    for module, kinds in {
        figures: ("bars", "bars_by_system", "depths", "differences", "curves", "history", "losses"),
        maps: ("drawing",),
    }.items():
        for kind in kinds:

            def stub(*arguments: Any, kind: str = kind, **options: Any) -> str:
                told = "; ".join(
                    [*map(words, arguments), *(f"{k}={words(v)}" for k, v in options.items())]
                )
                return f"<svg>{kind}: {told}</svg>"

            patch.setattr(module, kind, stub)
