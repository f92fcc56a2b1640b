"""The number of threads changes no bit of a result.

Run as a program, with the number of threads, it prints the hash of each case.
"""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from conftest import catalogue_of, random_interactions
from small import PLAIN, config_of

from model import reductions
from model.aggregate import Ensemble
from model.dataset import Dataset, Modality
from model.experiment import build, system_class
from model.system import Run
from model.systems import SYSTEMS

USERS, ITEMS = 700, 500
SETTINGS = {"dimension": 128, "epochs": 1, "batch_size": 4096, "learning_rate": 0.01}
OPTIONS = {"lattice": {"learning_rate": 0.01}, "ease": {"content_weight": 1.0}}
CONTENT = replace(PLAIN.content, single_branch=True, autoencoder=0.5, contrast=0.5)
CASES: list[tuple[str, dict[str, Any]]] = [(system, {}) for system in SYSTEMS] + [
    ("alpha", {"layers": 0}),
    ("frozen", {"aggregate": "ensemble"}),
    ("frozen", {"aggregate": "concat", "projection": "learned"}),
    ("frozen", {"projection": "learned", "content": CONTENT}),
    ("unfrozen", {"loss": "softmax", "negatives": 9}),
]


def fitted(system: str, changes: dict[str, Any]) -> str:
    """sha256 of everything that a fit leaves, of tables whose sums torch shares out."""
    generator = torch.Generator().manual_seed(0)
    modalities = [
        Modality(
            name,
            torch.randn(ITEMS, width, generator=generator),
            torch.rand(ITEMS, generator=generator) > 0.2,
        )
        for name, width in (("text", 384), ("image", 96))
    ]
    train = random_interactions(USERS, ITEMS, 12_000, 0)
    validation = random_interactions(USERS, ITEMS, 36_000, 1)
    catalogue = catalogue_of(train, *modalities)
    config = config_of(system, options=OPTIONS.get(system), **SETTINGS | changes)
    model = build(system_class(system), catalogue, config, 0)
    told = model.fit(Dataset(catalogue, validation, validation), Run(0))
    digest = hashlib.sha256(repr(told).encode())
    scores = model.scorer()(torch.arange(USERS))
    for tensor in (*model.state().values(), *model.constants().values(), scores):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_every_system() -> None:
    one, two = (
        subprocess.run(
            [sys.executable, __file__, threads], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for threads in ("1", "2")
    )
    assert len(one) == len(CASES)
    differing = [CASES[n][0] for n, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    assert not differing


def test_gradients_of_single_weights() -> None:
    """Those of alpha and of the ensemble are sums over whole tables."""
    parts = [torch.randn(700, 128, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
    present, ensemble = torch.ones(2, 700, 1), Ensemble()
    catalogue = catalogue_of(
        random_interactions(700, 700, 5000, 0), Modality("text", parts[1], present[0, :, 0] > 0)
    )
    alpha = system_class("alpha")(catalogue, config_of("alpha", 0, dimension=128))
    threads, gradients = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        for n in range(8):
            upstream = torch.randn(700, 128, generator=torch.Generator().manual_seed(n))
            alpha.zero_grad()
            ensemble.zero_grad()
            (alpha().items * upstream).sum().backward()
            (ensemble(parts, present) * upstream).sum().backward()
            gradients.append((float(alpha.balance.grad), ensemble.logits.grad.tolist()))
    torch.set_num_threads(threads)
    assert gradients[:8] == gradients[8:]


@pytest.mark.parametrize("count", [1, 4096, 4097, 100_000])
def test_sums_are_right(count: int) -> None:
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    expected = values.double().sum().item()
    assert reductions.total(values).item() == pytest.approx(expected, rel=1e-5, abs=1e-3)
    assert reductions.mean(values).item() == pytest.approx(expected / count, rel=1e-5, abs=1e-6)
    assert reductions.total(values.view(-1, 1)).shape == ()


def test_scale_and_its_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn((), dtype=torch.float64, generator=generator, requires_grad=True)
    table = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.equal(reductions.scale(factor, table), factor * table)
    assert torch.autograd.gradcheck(reductions.scale, (factor, table))
    assert torch.autograd.gradcheck(reductions.mean, (table,))


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    for case in CASES:
        print(fitted(*case), flush=True)
