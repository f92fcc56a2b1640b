"""The number of threads changes no bit of a result.

Run as a program, with the number of threads, it prints the hash of each case.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from conftest import catalogue_of, random_interactions

from model import reductions
from model.aggregate import Ensemble
from model.config import Config, Content, Lattice, Systems, Train
from model.features import Modality
from model.fitting import Fitter
from model.variants import VARIANTS, variant_class

USERS, ITEMS = 700, 500
SETTINGS = {"dimension": 128, "epochs": 1, "batch_size": 4096, "learning_rate": 0.01}
SYSTEMS = Systems(lattice=Lattice(learning_rate=0.01))
CONTENT = Content(single_branch=True, autoencoder=0.5, contrast=0.5)


def config(layers: int = 2, **changes: object) -> Config:
    top = {k: changes.pop(k) for k in ("aggregate", "projection") if k in changes}
    return Config(layers, Train(**{**SETTINGS, **changes}), SYSTEMS, **top)  # type: ignore[arg-type]


CASES = [(variant, config()) for variant in VARIANTS] + [
    ("alpha", config(0)),
    ("frozen", config(aggregate="ensemble")),
    ("frozen", config(aggregate="concat", projection="learned")),
    ("frozen", config(projection="learned", content=CONTENT)),
    ("unfrozen", config(loss="softmax", negatives=9)),
]


def fitted(variant: str, config: Config) -> str:
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
    torch.manual_seed(0)
    model = variant_class(variant)(catalogue_of(train, *modalities), config)
    fit = Fitter(model, train, validation, config, 0).run()
    digest = hashlib.sha256(repr(fit.history).encode())
    for tensor in (*model.state_dict().values(), fit.users, fit.items):
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
    alpha = variant_class("alpha")(catalogue, config(0))
    threads, gradients = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        for n in range(8):
            upstream = torch.randn(700, 128, generator=torch.Generator().manual_seed(n))
            alpha.zero_grad()
            ensemble.zero_grad()
            (alpha()[1] * upstream).sum().backward()
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
