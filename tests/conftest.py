"""Fixtures that several test modules use."""

import os
from pathlib import Path

import pytest
import torch

from model.dataset import Catalogue, Modality
from model.interactions import Interactions

# Worker processes are forked from a server that imports what they need, from any folder.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])


def random_interactions(users: int, items: int, edges: int, seed: int) -> Interactions:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randint(users, (edges,), generator=generator)
    i = torch.randint(items, (edges,), generator=generator)
    return Interactions.of(u, i, users, items)


def catalogue_of(train: Interactions, *modalities: Modality) -> Catalogue:
    return Catalogue(train, list(modalities))


@pytest.fixture
def checkerboard() -> Interactions:
    """50 users and 50 items; even users like even items, odd users odd ones; 6 each."""
    generator = torch.Generator().manual_seed(0)
    users = torch.arange(50).repeat_interleave(6)
    halves = torch.stack([torch.randperm(25, generator=generator)[:6] for _ in range(50)])
    return Interactions.of(users, halves.flatten() * 2 + users % 2, 50, 50)
