"""The two products of `model.sparse` as kernels for a card, in Triton, which torch comes with.

Every sum is taken by one program in a fixed order, without atomics: the same numbers give the same
bytes, which cuSPARSE does not promise.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

WIDTH = 512  # numbers of a row that a program has, at most
CELLS = 8192  # of the vectors that a program adds up at a time
LOOP = 64  # entries at a time where vectors are narrow


@triton.jit  # type: ignore[untyped-decorator]
def _rows(
    offsets: Any,
    columns: Any,
    values: Any,
    dense: Any,
    out: Any,
    width: tl.constexpr,
    ENTRIES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """A row of the product, `BLOCK` of its numbers: a program each."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    first, last = tl.load(offsets + row), tl.load(offsets + row + 1)
    sums = tl.zeros((BLOCK,), dense.dtype.element_ty)
    for start in range(first, last, ENTRIES):
        entries = start + tl.arange(0, ENTRIES)
        there = entries < last
        column = tl.load(columns + entries, mask=there, other=0)
        value = tl.load(values + entries, mask=there, other=0.0)
        places = dense + column[:, None] * width + at[None, :]
        vectors = tl.load(places, mask=there[:, None] & inside[None, :], other=0.0)
        sums += tl.sum(value[:, None] * vectors, 0)
    tl.store(out + row * width + at, sums, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _pairs(
    rows: Any,
    columns: Any,
    left: Any,
    right: Any,
    out: Any,
    n: Any,
    width: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """`PAIRS` inner products a program."""
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    there = pair < n
    row = tl.load(rows + pair, mask=there, other=0) * width
    column = tl.load(columns + pair, mask=there, other=0) * width
    sums = tl.zeros((PAIRS,), left.dtype.element_ty)
    for start in range(0, width, BLOCK):
        at = start + tl.arange(0, BLOCK)
        both = there[:, None] & (at < width)[None, :]
        a = tl.load(left + row[:, None] + at[None, :], mask=both, other=0.0)
        b = tl.load(right + column[:, None] + at[None, :], mask=both, other=0.0)
        sums += tl.sum(a * b, 1)
    tl.store(out + pair, sums, mask=there)


def _shape(width: int) -> tuple[int, int]:
    """How many numbers of a vector, and how many vectors, a program has at a time."""
    block = min(WIDTH, max(16, triton.next_power_of_2(width)))
    return block, min(LOOP, CELLS // block)


def product(offsets: Tensor, columns: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    """CSR (n, m) times dense (m, d): (n, d)."""
    n, width = len(offsets) - 1, dense.shape[1]
    out = dense.new_empty(n, width)
    if out.numel():
        block, entries = _shape(width)
        grid = (n, triton.cdiv(width, block))
        _rows[grid](
            offsets, columns, values.contiguous(), dense.contiguous(), out, width, entries, block
        )
    return out


def inner_products(rows: Tensor, columns: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left[r] · right[c] of every pair: (n, d) and (m, d) to (E,)."""
    n, width = len(rows), left.shape[1]
    out = left.new_empty(n)
    if n:
        block, pairs = _shape(width)
        _pairs[(triton.cdiv(n, pairs),)](
            rows, columns, left.contiguous(), right.contiguous(), out, n, width, pairs, block
        )
    return out
