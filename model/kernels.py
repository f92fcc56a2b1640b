"""The two products of `model.sparse` as kernels for a card, in Triton, which torch comes with.

Every number is summed by one program in a fixed order, without atomics: the same input gives the
same bytes, which cuSPARSE does not promise. No output is cleared first, no matrix built.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDTH = 512  # numbers of a row that a program has, at most
AHEAD = 8  # vectors that are fetched at a time
PAIRS = 8  # inner products that a program has


@triton.jit  # type: ignore[untyped-decorator]
def _rows(  # type: ignore[no-untyped-def]
    offsets,
    columns,
    values,
    dense,
    out,
    width: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """A row of the product, `BLOCK` of its numbers: a program each."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    first, last = tl.load(offsets + row), tl.load(offsets + row + 1)
    sums = tl.zeros((BLOCK,), dense.dtype.element_ty)
    for start in range(first, last, AHEAD):
        for step in tl.static_range(AHEAD):
            there = start + step < last
            column = tl.load(columns + start + step, mask=there, other=0)
            value = tl.load(values + start + step, mask=there, other=0.0)
            vector = tl.load(dense + column * width + at, mask=inside & there, other=0.0)
            sums += value * vector
    tl.store(out + row * width + at, sums, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _collected(  # type: ignore[no-untyped-def]
    offsets,
    parts,
    out,
    width: tl.constexpr,
    BLOCK: tl.constexpr,
    AHEAD: tl.constexpr,
):
    """The sum of neighbouring rows `offsets[r]` to `offsets[r + 1]`: a program a row and block."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < width
    first, last = tl.load(offsets + row), tl.load(offsets + row + 1)
    sums = tl.zeros((BLOCK,), parts.dtype.element_ty)
    for start in range(first, last, AHEAD):
        for step in tl.static_range(AHEAD):
            there = start + step < last
            sums += tl.load(parts + (start + step) * width + at, mask=inside & there, other=0.0)
    tl.store(out + row * width + at, sums, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _pairs(  # type: ignore[no-untyped-def]
    rows,
    columns,
    left,
    right,
    out,
    n,
    width: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK: tl.constexpr,
):
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


def _block(width: int) -> tuple[int, int]:
    """How many of a vector's numbers a program has, and its warps: four numbers a thread."""
    block = min(WIDTH, max(32, triton.next_power_of_2(width)))
    return block, max(1, block // 128)


def product(
    offsets: Tensor,
    columns: Tensor,
    values: Tensor,
    dense: Tensor,
    cut: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """CSR (n, m) times dense (m, d): (n, d).

    Args:
        cut: of the rows (`model.sparse.cut`), where some are long.
    """
    width = dense.shape[1]
    pieces, of_rows = (offsets, None) if cut is None else cut
    out = dense.new_empty(len(pieces) - 1, width)
    if not out.numel():
        return dense.new_zeros(len(offsets) - 1, width)
    block, warps = _block(width)
    blocks = triton.cdiv(width, block)
    given = columns, values.contiguous(), dense.contiguous()
    _rows[(len(out), blocks)](pieces, *given, out, width, block, AHEAD, num_warps=warps)
    if of_rows is None:
        return out
    whole = dense.new_empty(len(offsets) - 1, width)
    _collected[(len(whole), blocks)](of_rows, out, whole, width, block, AHEAD, num_warps=warps)
    return whole


def inner_products(rows: Tensor, columns: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """left[r] · right[c] of every pair: (n, d) and (m, d) to (E,)."""
    n, width = len(rows), left.shape[1]
    out = left.new_empty(n)
    if n:
        block, _ = _block(width)
        _pairs[(triton.cdiv(n, PAIRS),)](
            rows, columns, left.contiguous(), right.contiguous(), out, n, width, PAIRS, block
        )
    return out


def try_out() -> None:
    """Launch each once; raises whatever is in the way."""
    rows = torch.zeros(2, dtype=torch.int64, device="cuda")
    vectors = torch.ones(1, 1, device="cuda")
    offsets = torch.tensor([0, 2], device="cuda")
    product(
        offsets, rows, torch.ones(2, device="cuda"), vectors, (offsets, rows.new_tensor([0, 1]))
    )
    inner_products(rows, rows, vectors, vectors)
