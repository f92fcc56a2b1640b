"""The two sparse products against dense ones, and their hand-written backwards."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pretended import CARD, CPU, pretended_cuda

from model import sparse
from model.sparse import Pattern, SparseMatrix, inner_products, multiply

SHAPE = (6, 4)


def pattern() -> Pattern:
    """With an empty row, an empty column, and a position that occurs twice."""
    rows = torch.tensor([0, 0, 1, 2, 2, 2, 4, 4, 5])
    columns = torch.tensor([0, 3, 1, 0, 1, 1, 3, 0, 1])
    return Pattern.of(rows, columns, SHAPE)


def dense_of(p: Pattern, values: torch.Tensor) -> torch.Tensor:
    dense = torch.zeros(SHAPE, dtype=values.dtype)
    for row, column, value in zip(p.rows, p.columns, values, strict=True):
        dense[row, column] += value
    return dense


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator, requires_grad=True)


def test_multiply_is_the_dense_product() -> None:
    values, right = drawn(9), drawn(4, 3)
    torch.testing.assert_close(
        multiply(pattern(), values, right), dense_of(pattern(), values) @ right
    )


def test_inner_products_are_entries_of_the_dense_product() -> None:
    left, right, p = drawn(6, 3), drawn(4, 3), pattern()
    torch.testing.assert_close(inner_products(p, left, right), (left @ right.T)[p.rows, p.columns])


@pytest.mark.parametrize("fixed", [(), (0,), (1,)])
def test_backwards_are_finite_differences(fixed: tuple[int, ...]) -> None:
    for function, arguments in (
        (multiply, (drawn(9), drawn(4, 3))),
        (inner_products, (drawn(6, 3), drawn(4, 3))),
    ):
        given = tuple(a.detach() if i in fixed else a for i, a in enumerate(arguments))
        assert torch.autograd.gradcheck(lambda *a, f=function: f(pattern(), *a), given)


def test_transposes() -> None:
    values, left = drawn(9).detach(), drawn(6, 3).detach()
    p = pattern()
    expected = dense_of(p, values).T @ left
    torch.testing.assert_close(multiply(p.T, values[p.order], left), expected)
    matrix = SparseMatrix(p, values)
    torch.testing.assert_close(matrix.transposed_times(left), expected)
    torch.testing.assert_close(matrix.to_dense(), dense_of(p, values))
    again = p.T.T
    assert torch.equal(again.rows, p.rows) and torch.equal(again.offsets, p.offsets)
    back = SparseMatrix(p.T, values[p.order])
    torch.testing.assert_close(back.to_dense(), dense_of(p, values).T)


def test_many_entries_are_taken_in_blocks() -> None:
    rows = torch.arange(2000).repeat_interleave(3) // 2
    columns = torch.arange(6000) % 500
    p = Pattern.of(rows, columns, (1000, 500))
    left, right = torch.randn(1000, 257), torch.randn(500, 257)
    expected = (left @ right.T)[rows, columns]
    torch.testing.assert_close(inner_products(p, left, right), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", [CPU, CARD], ids=str)
def test_a_card_too_takes_entries_in_blocks(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "CELLS", {"cpu": 1 << 18, "cuda": 12})
    blocks, cat = [], torch.cat

    def counted(parts: Sequence[torch.Tensor]) -> torch.Tensor:
        blocks.append([len(part) for part in parts])
        return cat(parts)

    monkeypatch.setattr(torch, "cat", counted)
    left, right, p = drawn(6, 3).detach(), drawn(4, 3).detach(), pattern()
    expected = (left @ right.T)[p.rows, p.columns]
    with pretended_cuda():
        there = Pattern(*(getattr(p, name).to(device) for name in sparse.PATTERN_FIELDS))
        made = inner_products(there, left.to(device), right.to(device)).cpu()
    torch.testing.assert_close(made, expected)
    assert blocks == [[9] if device == CPU else [4, 4, 1]]


@pytest.mark.parametrize("device", [CPU, CARD], ids=str)
def test_values_need_not_be_contiguous(device: torch.device) -> None:
    """The gradient of a sum is one number, expanded."""
    left, right, p = drawn(6, 3), drawn(4, 3), pattern()
    expected = torch.autograd.grad((left @ right.T)[p.rows, p.columns].sum(), (left, right))
    with pretended_cuda():
        there = Pattern(*(getattr(p, name).to(device) for name in sparse.PATTERN_FIELDS))
        leaves: list[Any] = [t.detach().to(device).requires_grad_() for t in (left, right)]
        inner_products(there, *leaves).sum().backward()
        made = [leaf.grad.cpu() for leaf in leaves]
    for gradient, exact in zip(made, expected, strict=True):
        torch.testing.assert_close(gradient, exact)
