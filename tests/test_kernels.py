"""The card's products: run by Triton's interpreter on the CPU, and compiled for cards."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from model import sparse
from model.replay import Replayed
from model.sparse import Pattern, SparseMatrix, cut

pytest.importorskip("triton", reason="torch comes without Triton here")

ROOT = Path(__file__).parents[1]
WIDTHS = (1, 5, 64, 300, 600)


Call = tuple[str, tuple[Any, ...]]
Interpreted = Callable[[list[Call]], list[Tensor]]


@pytest.fixture
def interpreted(tmp_path: Path) -> Interpreted:
    """Call functions of `model.kernels` as the interpreter runs them."""

    def called(calls: list[Call]) -> list[Tensor]:
        torch.save(calls, tmp_path / "calls")
        subprocess.run(
            [sys.executable, ROOT / "tests/interpreting.py", "calls", "results"],
            cwd=tmp_path, env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)},
            check=True,
        )  # fmt: skip
        found: list[Tensor] = torch.load(tmp_path / "results")
        return found

    return called


def entries(rows: int, columns: int, count: int) -> tuple[Pattern, Tensor]:
    """Many of them in one row, the last rows empty."""
    generator = torch.Generator().manual_seed(count)
    where = (torch.rand(count, generator=generator) ** 3 * (rows - 2)).long().sort().values
    pattern = Pattern.of(where, torch.randint(columns, (count,), generator=generator),
                         (rows, columns))  # fmt: skip
    return pattern, torch.randn(count, generator=generator)


def dense(pattern: Pattern, values: Tensor, columns: int) -> Tensor:
    whole = torch.zeros(len(pattern.offsets) - 1, columns, dtype=torch.float64)
    return whole.index_put_((pattern.rows, pattern.columns), values.double(), accumulate=True)


def test_a_product(interpreted: Interpreted) -> None:
    pattern, values = entries(12, 9, 150)
    sides = [torch.randn(9, width) for width in WIDTHS]
    cuts = [None, *(cut(pattern.offsets, size) for size in (1, 7, 64))]
    given = pattern.offsets, pattern.columns, values
    made = interpreted([("product", (*given, x, pieces)) for x in sides for pieces in cuts])
    for x, parts in zip(sides, [made[i : i + 4] for i in range(0, len(made), 4)], strict=True):
        expected = dense(pattern, values, 9) @ x.double()
        for part in parts:
            torch.testing.assert_close(part.double(), expected, rtol=1e-5, atol=1e-5)
            assert (part[-2:] == 0).all()


def test_inner_products(interpreted: Interpreted) -> None:
    pattern, _ = entries(12, 9, 150)
    sides = [(torch.randn(12, width), torch.randn(9, width)) for width in WIDTHS]
    made = interpreted([("inner_products", (pattern.rows, pattern.columns, *s)) for s in sides])
    for (left, right), found in zip(sides, made, strict=True):
        expected = (left.double() @ right.double().T)[pattern.rows, pattern.columns]
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_gaps_and_nothing(interpreted: Interpreted) -> None:
    pattern, _ = entries(12, 9, 150)
    values, x = torch.ones(1).expand(150), torch.randn(5, 9).T
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = Pattern.of(nothing, nothing, (3, 4))
    made = interpreted([
        ("product", (pattern.offsets, pattern.columns, values, x)),
        ("product", (empty.offsets, empty.columns, torch.zeros(0), torch.ones(4, 5))),
        ("inner_products", (nothing, nothing, torch.ones(3, 5), torch.ones(3, 5))),
    ])  # fmt: skip
    expected = dense(pattern, values, 9) @ x.double()
    torch.testing.assert_close(made[0].double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(made[1], torch.zeros(3, 5)) and made[2].shape == (0,)


@pytest.mark.parametrize("arch", [75, 80, 90])
@pytest.mark.parametrize("width", [64, 512])
def test_they_compile_for_a_card(arch: int, width: int) -> None:
    compiler: Any = importlib.import_module("triton.compiler")
    backends: Any = importlib.import_module("triton.backends.compiler")
    kernels = importlib.import_module("model.kernels")
    block, warps = kernels._block(width)
    integers = dict.fromkeys(("offsets", "columns", "rows"), "*i64")
    pointers = integers | dict.fromkeys(
        ("values", "dense", "out", "parts", "left", "right"), "*fp32"
    )
    given = {"width": width, "BLOCK": block, "AHEAD": kernels.AHEAD, "PAIRS": kernels.PAIRS}
    for kernel in (kernels._rows, kernels._collected, kernels._pairs):
        kinds = {n: pointers.get(n, "constexpr" if n in given else "i32") for n in kernel.arg_names}
        source = compiler.ASTSource(
            kernel, kinds, {n: v for n, v in given.items() if n in kernel.arg_names}
        )
        target = backends.GPUTarget("cuda", arch, 32)
        made = compiler.compile(
            source, target=target, options={"num_warps": 4 if kernel is kernels._pairs else warps}
        )
        assert made.asm["cubin"] and "atom" not in made.asm["ptx"]


def test_rows_are_cut_into_pieces() -> None:
    offsets = torch.tensor([0, 0, 10, 13, 13, 20])
    found = cut(offsets, 4)
    assert found is not None
    starts, of_rows = found
    assert starts.tolist() == [0, 4, 8, 10, 13, 17, 20]
    assert of_rows.tolist() == [0, 0, 3, 4, 4, 6]
    assert cut(offsets, 10) is None
    assert cut(torch.zeros(1, dtype=torch.int64)) is None


def test_a_matrix_with_long_rows_brings_its_pieces() -> None:
    pattern, values = entries(12, 9, 3000)
    matrix = SparseMatrix(pattern, values)
    here = matrix.pattern
    for pieces, offsets in (
        (here.cut, here.offsets),
        (here.transposed_cut, here.transposed_offsets),
    ):
        expected = cut(offsets)
        assert pieces is not None and expected is not None
        assert all(torch.equal(a, b) for a, b in zip(pieces, expected, strict=True))
    assert here.T.cut is here.transposed_cut and here.T.transposed_cut is here.cut
    x = torch.randn(9, 4)
    torch.testing.assert_close(matrix(x).double(), dense(pattern, values, 9) @ x.double(),
                               rtol=1e-5, atol=1e-4)  # fmt: skip


def test_where_they_cannot_run_torchs_products_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from model import kernels

    def without_a_compiler() -> None:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(kernels, "try_out", without_a_compiler)
    sparse.kernels.cache_clear()
    try:
        assert sparse.kernels() is None is sparse.kernels()
        assert [r.getMessage() for r in caplog.records] == [
            "sparse products by cuSPARSE, whose bytes may differ from run to run: "
            "Failed to find C compiler"
        ]
        sparse.kernels.cache_clear()
        monkeypatch.setattr(kernels, "try_out", lambda: None)
        assert sparse.kernels() is kernels
    finally:
        sparse.kernels.cache_clear()


class Recorded:
    """What a card would have recorded: the function, and the place that it reads."""

    def __init__(self, replayed: Replayed, place: Tensor) -> None:
        self.replayed, self.place, self.times = replayed, place, 0

    def replay(self) -> None:
        self.times += 1
        self.replayed.function(self.place)


def test_every_length_is_recorded_once_and_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(self: Replayed, given: Tensor) -> None:
        place = torch.zeros_like(given)
        self.graphs[len(given)] = Recorded(self, place), place  # type: ignore[assignment]

    monkeypatch.setattr(Replayed, "_record", record)
    seen: list[list[int]] = []
    take = Replayed(lambda given: seen.append(given.tolist()), torch.Generator())
    given = [torch.tensor(x) for x in ([1, 2], [3], [4, 5], [6, 7], [8], [9, 0], [1])]
    for tensor in given:
        take(tensor)
    assert seen == [tensor.tolist() for tensor in given]
    assert {n: graph.times for n, (graph, _) in take.graphs.items()} == {2: 2, 1: 1}  # type: ignore[attr-defined]
