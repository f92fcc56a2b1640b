"""On a card that is there: the CPU's results, the same bytes again, no wait in a step."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from small import EMBEDDING_SYSTEMS
from test_contract import U, config, dataset
from test_pretended_cuda import CASES
from test_pretended_encoders import PREPARED, shallow  # noqa: F401 (a fixture)
from torch import Tensor

from encoders import encoder_class
from model.dataset import Dataset
from model.experiment import build, evaluate_splits, fit, system_class
from model.fitting import Fitter
from model.ranking import rank
from model.replay import Replayed
from model.sparse import Pattern, _inner_products, product
from model.system import Run, Snapshot
from pipeline.experiments import checkpoint
from pipeline.experiments.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card")

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
# Steps whose shapes follow the batch are never recorded.
SELECTING = {"early"}


@contextmanager
def drawn_on_the_cpu() -> Iterator[None]:
    """Both devices draw the same numbers, and every step runs as it is."""

    def moved(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def drawn(*args: Any, device: Any = None, **options: Any) -> Tensor:
            return draw(*args, **options).to(device or CPU)

        return drawn

    generator, rand = torch.Generator, torch.rand
    with ExitStack() as stack:
        for name, pretence in {
            "torch.Generator": lambda device=CPU: generator(),
            "torch.rand": moved(torch.rand),
            "torch.randperm": moved(torch.randperm),
            "torch.rand_like": lambda x: rand(x.shape).to(x.device),
            "model.fitting.can_replay": lambda device: False,
        }.items():
            stack.enter_context(patch(name, pretence))
        yield


def fitted(
    device: torch.device, system: str, run: Run | None = None, data: Dataset | None = None,
    control: str | None = None, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """State, scores and lists, fitted there."""
    data = data or dataset()
    settings = config(system, **{"epochs": 3} | changes)
    model = build(system_class(system), data.catalogue, settings, 3, control)
    told = fit(model, data, run or Run(3), device)
    here, scorer = data.to(device), model.scorer()
    users = torch.arange(U, device=device)
    return {
        "history": told.history,
        "state": {name: t.cpu() for name, t in model.state().items()},
        "scores": scorer(users).cpu(),
        "lists": rank(scorer, users, 10, seen=here.catalogue.train)[0].cpu(),
        "judged": {s: e.values() for s, e in evaluate_splits(here, scorer).items()},
    }


# Of items without content all cosines are equal: each device takes its own as the nearest.
TIED = [("lattice", {"missing": missing}) for missing in ("zero", "mean")]


@pytest.mark.parametrize(("system", "changes"), [c for c in CASES if c not in TIED], ids=str)
def test_a_system_gives_what_it_gives_on_the_cpu(system: str, changes: dict[str, Any]) -> None:
    own = {"options": {"dropout": 0.0}} if system == "early" else {}  # each has its own dropout
    with drawn_on_the_cpu():
        made = fitted(CARD, system, **{"epochs": 1} | own | changes)
        expected = fitted(CPU, system, **{"epochs": 1} | own | changes)
    # What a bias adds to all items of a user has no gradient but rounding, which Adam enlarges.
    ours, theirs = (f["scores"] - f["scores"].mean(1, keepdim=True) for f in (made, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("system", "changes"),
    [c for c in CASES if c[0] in EMBEDDING_SYSTEMS and "control" not in c[1]],
    ids=str,
)
def test_a_replayed_fit_gives_what_a_fit_gives(system: str, changes: dict[str, Any]) -> None:
    with patch("model.fitting.can_replay", lambda device: False):
        expected = fitted(CARD, system, **{"epochs": 3} | changes)
    made = fitted(CARD, system, **{"epochs": 3} | changes)
    ours, theirs = (f["scores"] - f["scores"].mean(1, keepdim=True) for f in (made, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_the_same_again_gives_the_same_bytes(system: str) -> None:
    first, second = fitted(CARD, system), fitted(CARD, system)
    assert torch.equal(first["scores"], second["scores"])
    assert first["history"] == second["history"]


@pytest.mark.parametrize("system", ["none", "frozen", "early", "lattice", "ials"])
def test_a_fit_that_is_cut_off_goes_on_from_its_file(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    kept = Checkpoint(tmp_path / "fit.safetensors")

    def save(snapshot: Snapshot) -> None:
        if len(snapshot.history) == 2:
            kept.save(snapshot)

    whole = fitted(CARD, system, Run(3, save=save), epochs=4)
    torch.rand(7, device=CARD)  # whatever else drew in between
    again = fitted(CARD, system, Run(3, resumed=kept.load()), epochs=4)
    torch.testing.assert_close(again["scores"], whole["scores"], rtol=1e-3, atol=1e-4)
    assert len(again["history"]) == len(whole["history"])


@pytest.mark.parametrize("system", EMBEDDING_SYSTEMS)
def test_no_step_waits(system: str) -> None:
    data = dataset()
    model = build(system_class(system), data.catalogue, config(system), 3)
    fitter = Fitter(model.to(CARD), data.to(CARD), Run(3))  # type: ignore[arg-type]
    fitter._epoch()
    model.train()  # type: ignore[attr-defined]
    batches = fitter.batches.shuffled(fitter.generator)
    for take in (fitter._take, *[fitter.replayed or fitter._take] * 3):
        for edges in batches:
            if not isinstance(take, Replayed) or len(edges) in take.graphs:
                mode = "default" if system in SELECTING else "error"
                torch.cuda.set_sync_debug_mode(mode)
            try:
                take(edges)
            finally:
                torch.cuda.set_sync_debug_mode("default")
    assert (fitter.replayed is None) == (system in SELECTING)


def test_without_validation() -> None:
    data = dataset()
    empty = data.joined()
    made = fitted(CARD, "frozen", data=empty)
    assert made["scores"].isfinite().all()


@pytest.mark.parametrize("width", [1, 5, 64, 300, 600])
def test_products(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    rows = torch.randint(40, (3000,), generator=generator).sort().values
    columns = torch.randint(50, (3000,), generator=generator)
    pattern = Pattern.of(rows, columns, (45, 50))
    values = torch.randn(3000, generator=generator)
    left, right = (torch.randn(n, width, generator=generator) for n in (45, 50))
    here = Pattern.of(rows.to(CARD), columns.to(CARD), (45, 50))
    made = product(here.offsets, here.columns, values.to(CARD), right.to(CARD)).cpu()
    expected = product(pattern.offsets, pattern.columns, values.double(), right.double())
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-4)
    made = _inner_products(here, left.to(CARD), right.to(CARD)).cpu()
    expected = _inner_products(pattern, left.double(), right.double())
    torch.testing.assert_close(made.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", PREPARED)
@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-4), ("fp16", 2e-2)])
def test_an_encoder_gives_what_it_gives_on_the_cpu(name: str, precision: str, apart: float) -> None:
    cls, prepared = encoder_class(name), PREPARED[name]()
    expected = cls("bundled").encode(prepared)
    made = cls("bundled", "cuda", precision).encode(prepared)
    np.testing.assert_allclose(made, expected, rtol=0, atol=apart * np.abs(expected).max())
