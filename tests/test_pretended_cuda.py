"""On a card that is pretended (`pretended`) everything runs, with the CPU's results."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pretended import CARD, CPU, pretended_cuda
from small import EMBEDDING_SYSTEMS, PLAIN
from test_contract import U, config, dataset, modality
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from model.config import AGGREGATES, PROJECTIONS
from model.experiment import build, evaluate_splits, fit, system_class
from model.ranking import rank
from model.system import Run, Snapshot, Unsupported
from model.systems import SYSTEMS, options_class
from pipeline.experiments import checkpoint
from pipeline.experiments.checkpoint import Checkpoint


class Unmoved(nn.Module):
    """Keeps a constant where it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.arange(1.0, 5.0)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def cpu_generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def card_generator() -> torch.Generator:
    return torch.Generator(CARD).manual_seed(0)


def sparse(values: Tensor) -> Tensor:
    offsets, columns = torch.tensor([0, 2, 4]).to(CARD), torch.tensor([0, 1, 0, 1]).to(CARD)
    return torch.sparse_csr_tensor(offsets, columns, values, (2, 2), check_invariants=False)


REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "a tensor on the CPU": lambda x: x + torch.ones(4),
    "a product with the CPU": lambda x: torch.ones(2, 4) @ x,
    "indices on the card into the CPU": lambda x: torch.ones(4)[x.long()],
    "a CPU generator": lambda x: torch.rand(4, device=CARD, generator=cpu_generator()),
    "a CUDA generator": lambda x: torch.rand(4, generator=card_generator()),
    "a buffer that was not moved": lambda x: Unmoved().to(CARD)(x),
    "values with gaps": lambda x: sparse(x[:1].expand(4)),
    "to NumPy": lambda x: x.numpy(),
}


@pytest.mark.parametrize("planted", REFUSED)
def test_what_a_card_refuses(planted: str) -> None:
    with pretended_cuda():
        x = torch.zeros(4, device=CARD)
        with pytest.raises((RuntimeError, TypeError)):
            REFUSED[planted](x)


def stored(x: Tensor) -> None:
    x[torch.tensor([0, 2])] = torch.ones(2, device=CARD)


WAITING: dict[str, tuple[str, Callable[[Tensor], Any]]] = {
    "item": ("_local_scalar_dense", lambda x: x.sum().item()),
    "float": ("_local_scalar_dense", lambda x: float(x[0])),
    "a condition": ("_local_scalar_dense", lambda x: 1 if x.any() else 0),
    "nonzero": ("nonzero", lambda x: x.nonzero()),
    "a mask": ("indexing by a mask", lambda x: x[x > 0]),
    "storing by a mask": ("indexing by a mask", lambda x: x.__setitem__(x > 0, x[0])),
    "bincount": ("bincount", lambda x: torch.bincount(x.long())),
    "unique": ("_unique2", lambda x: x.unique()),
    "equal": ("equal", lambda x: torch.equal(x, x)),
    "repeated": ("repeat_interleave", lambda x: x.repeat_interleave(x.long())),
    "to the CPU": ("copy to the CPU", lambda x: x.cpu()),
    "a list": ("copy to the CPU", lambda x: x.tolist()),
    "from the CPU": ("copy to the card", lambda x: torch.ones(4).to(CARD)),
    "filled from the CPU": ("copy to the card", lambda x: x.copy_(torch.ones(4))),
    "of Python's numbers": ("copy to the card", lambda x: torch.tensor([1.0], device=CARD)),
    "storing a number by indices": (
        "copy to the card", lambda x: x.__setitem__(torch.arange(2, device=CARD), 1.0),
    ),
    "indices on the CPU": ("indices on the CPU", lambda x: x[torch.tensor([0, 2])]),
    "storing by indices on the CPU": ("indices on the CPU", stored),
}  # fmt: skip


@pytest.mark.parametrize("planted", WAITING)
def test_what_waits_for_a_card(planted: str) -> None:
    operation, wait = WAITING[planted]
    with pretended_cuda() as waits:
        x = torch.zeros(4, device=CARD)
        assert not waits
        wait(x)
    ((counted, line),) = waits
    assert counted == operation and line.startswith("tests/test_pretended_cuda.py:")


def test_what_does_not_wait() -> None:
    with pretended_cuda() as waits:
        x = torch.rand(4, 3, device=CARD, generator=card_generator()).requires_grad_()
        table = nn.Linear(3, 2, device=CARD)
        rows = torch.arange(2, device=CARD).repeat_interleave(2)
        (table(x)[rows] * torch.tensor(2.0)).where(x[:, :1] > 0, 0.0).sum().backward()
        x.detach().add_(1.0).sort(dim=1)
        torch.ones(4).pin_memory().to(CARD, non_blocking=True)
    assert not waits


CONTENT_LOSSES = replace(PLAIN.content, single_branch=True, autoencoder=0.1, contrast=0.1)
FUSING = [name for name in EMBEDDING_SYSTEMS if "train.missing" in options_class(name).reads]
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SYSTEMS if name != "blend"),
    *(("frozen", {"aggregate": name}) for name in AGGREGATES[1:]),
    *((name, {"projection": p}) for name in ("frozen", "unfrozen") for p in PROJECTIONS),
    *((name, {"missing": missing}) for name in FUSING for missing in ("zero", "mean")),
    *((name, {"cold_items": "new"}) for name in FUSING),
    *((name, {"content": CONTENT_LOSSES}) for name in ("frozen", "alpha", "early")),
    *((name, {"layers": 0}) for name in ("none", "frozen", "mmlgcn")),
    *((name, {"loss": "softmax", "negatives": 3}) for name in ("none", "normalized", "vbpr")),
    ("none", {"propagation": "published", "protocol": "published"}),
    ("frozen", {"propagation": "published"}),
    ("frozen", {"protocol": "published"}),
    ("frozen", {"id_dropout": 0.3}),
    ("frozen", {"control": "placebo"}),
    ("frozen", {"control": "unit_length"}),
    ("early", {"aggregate": "concat", "control": "unit_length"}),
    ("mmlgcn", {"options": {"output_layer": False}}),
    ("lattice", {"options": {"rebuild": "epoch", "layers": 0}}),
    ("ease", {"options": {"content_weight": 1.0, "whiten": False, "user_exponent": 0.5}}),
    ("itemknn", {"options": {"similarity": "bm25"}}),
    ("blend", {"options": {"parts": ("ials", "contentknn", "frozen"), "factors": 4}}),
    ("blend", {"options": {"parts": ("ease", "itemknn", "none")}}),
]


def outcome(
    device: torch.device, system: str, control: str | None = None, **changes: Any
) -> dict[str, Any]:
    """All that a system gives, fitted there."""
    data = dataset()
    settings = config(system, **{"epochs": 2} | changes)
    model = build(system_class(system), data.catalogue, settings, 3, control)
    told, here = fit(model, data, Run(3), device), data.to(device)
    users, scorer = torch.arange(U, device=device), model.scorer()
    seen, carriers = here.catalogue.train, model.carriers()
    found = {
        "told": told,
        "state": dict(model.state()),
        "scores": scorer(users),
        "lists": rank(scorer, users, 10, seen=seen)[0],
        "judged": {s: e.values() for s, e in evaluate_splits(here, scorer).items()},
        "folded": model.folded(here.test.of_users(users[3:8]))(users[:5]),
        "terms": model.terms(),
        "carried": carriers and carriers(seen.items[:4], 7),
    }
    new = [m.of(torch.arange(4, 7)) for m in (modality("text", 6, 5), modality("image", 5, 6))]
    try:
        found["new"] = model.with_items(new).scorer()(users)
    except Unsupported as error:
        found["new"] = str(error)
    result: dict[str, Any] = pytree.tree_map_only(Tensor, Tensor.cpu, found)
    return result


def assert_equal(made: Any, expected: Any) -> None:
    """But for rounding: a product's gradient has another formula where it is not the CPU's."""
    if isinstance(expected, dict):
        assert made.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(made[key], value)
    elif isinstance(expected, Tensor):
        assert made.dtype == expected.dtype
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-7)
    else:
        assert made == expected


@pytest.mark.parametrize(("system", "changes"), CASES, ids=str)
def test_a_system_gives_what_it_gives_on_the_cpu(system: str, changes: dict[str, Any]) -> None:
    with pretended_cuda():
        made = outcome(CARD, system, **changes)
    assert_equal(made, outcome(CPU, system, **changes))


@pytest.mark.parametrize(
    ("system", "changes"),
    [("none", {}), ("frozen", {"id_dropout": 0.3}), ("early", {"options": {"dropout": 0.5}}),
     ("alpha", {"aggregate": "concat"}), ("lattice", {}), ("ials", {})],
    ids=str,
)  # fmt: skip
def test_a_fit_that_is_cut_off_goes_on_from_its_file(
    system: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
    kept = Checkpoint(tmp_path / "fit.safetensors")

    def save(snapshot: Snapshot) -> None:
        if len(snapshot.history) == 2:
            kept.save(snapshot)

    def fitted(run: Run) -> dict[str, Any]:
        data = dataset()
        model = build(system_class(system), data.catalogue, config(system, **changes), 3)
        told = fit(model, data, run, CARD)
        return {"told": told, "state": {k: t.cpu() for k, t in model.state().items()}}

    with pretended_cuda():
        whole = fitted(Run(3, save=save))
        assert len(whole["told"].history) > 2
        torch.rand(7)  # whatever else drew in between
        assert_equal(fitted(Run(3, resumed=kept.load())), whole)
