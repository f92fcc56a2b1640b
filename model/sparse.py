"""Sparse matrices by their pattern, and the two products that everything here is made of.

`multiply` is sparse x dense (SpMM); `inner_products` takes the entries of dense x dense at the
pattern (SDDMM). Each is the other's derivative: neither ever gathers an edge's vectors to scatter
them, and no gradient depends on the order in which threads come.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.ranks import ALONE, Ranks
from model.sorting import stable_order, starts

log = logging.getLogger("sparse")

Cut = tuple[Tensor, Tensor]
PIECE = 256  # entries: a card has a program a piece, and the longest would keep all waiting
CELLS = {"cpu": 1 << 17, "cuda": 1 << 26}  # numbers of a block of vectors, by device


@cache
def kernels() -> ModuleType | None:
    """`model.kernels`, where they run; None, with a warning, where torch's products must do.

    torch for Windows comes without Triton, and Triton needs a C compiler for its first launch.
    """
    try:
        from model import kernels

        kernels.try_out()
    except Exception as error:  # whatever a compiler, a driver or an import raises
        log.warning(
            "sparse products by cuSPARSE, whose bytes may differ from run to run: %s", error
        )
        with warnings.catch_warnings():  # torch calls its CSR support a beta at the first use
            warnings.simplefilter("ignore", UserWarning)
            nothing = torch.zeros(1, dtype=torch.int64)
            torch.sparse_csr_tensor(nothing, nothing[:0], torch.zeros(0), (0, 0))
        return None
    return kernels


@dataclass(frozen=True)
class Pattern:
    """Where an (n, m) sparse matrix has its E entries: CSR, and the CSR of its transpose.

    Attributes:
        offsets, columns: (n + 1,) and (E,) int64; row r has columns[offsets[r]:offsets[r + 1]].
        rows: (E,) int64, non-decreasing.
        transposed_offsets, transposed_columns: the same of the transpose.
        order: (E,) int64; the transpose's entries are this one's in that order.
        cut, transposed_cut: None, or the rows cut into pieces (`cut`), for a card; that changes the
            order of a sum alone.
        ranks, transposed_ranks: the processes among which the columns (of the transpose: the rows)
            are divided: each has a term of every product, which is summed over them.
    """

    offsets: Tensor
    columns: Tensor
    rows: Tensor
    transposed_offsets: Tensor
    transposed_columns: Tensor
    order: Tensor
    cut: Cut | None = None
    transposed_cut: Cut | None = None
    ranks: Ranks = ALONE
    transposed_ranks: Ranks = ALONE

    @classmethod
    def of(
        cls, rows: Tensor, columns: Tensor, shape: tuple[int, int], row_ranks: Ranks = ALONE
    ) -> Pattern:
        """From entries sorted by row; a position may occur several times.

        Args:
            row_ranks: the processes among which the rows are divided; these are this one's.
        """
        order = stable_order(columns, shape[1])
        return cls(
            starts(rows, shape[0]),
            columns,
            rows,
            starts(columns, shape[1]),
            rows[order],
            order,
            transposed_ranks=row_ranks,
        )

    @property
    def T(self) -> Pattern:  # noqa: N802 (as on tensors)
        """The transpose's pattern; its values are `values[order]`."""
        inverse = torch.empty_like(self.order)
        inverse[self.order] = torch.arange(len(inverse), device=inverse.device)
        return Pattern(
            self.transposed_offsets,
            self.transposed_columns,
            self.columns[self.order],
            self.offsets,
            self.columns,
            inverse,
            self.transposed_cut,
            self.cut,
            self.transposed_ranks,
            self.ranks,
        )

    def with_cuts(self) -> Pattern:
        """The same with long rows cut: for what is multiplied often, since it waits for a card."""
        return replace(self, cut=cut(self.offsets), transposed_cut=cut(self.transposed_offsets))

    def product(self, values: Tensor, dense: Tensor) -> Tensor:
        """The matrix of `values` times `dense`, as `product` has it."""
        return self.ranks.sum(product(self.offsets, self.columns, values, dense, self.cut))

    def transposed_product(self, values: Tensor, dense: Tensor) -> Tensor:
        """The transpose, whose entries `values` are in its order, times `dense`."""
        made = product(
            self.transposed_offsets, self.transposed_columns, values, dense, self.transposed_cut
        )
        return self.transposed_ranks.sum(made)


def cut(offsets: Tensor, size: int = PIECE) -> Cut | None:
    """The rows of a CSR matrix in pieces of at most `size` entries; None where all are that short.

    Returns:
        (p + 1,) where each piece starts, and (n + 1,) where each row's pieces start; int64.
    """
    counts = (offsets.diff() + size - 1) // size
    if not len(counts) or counts.amax() < 2:
        return None
    of_rows = torch.cat([offsets.new_zeros(1), counts.cumsum(0)])
    rows = torch.arange(len(counts), device=offsets.device).repeat_interleave(counts)
    place = torch.arange(len(rows), device=offsets.device) - of_rows[rows]
    return torch.cat([offsets[rows] + size * place, offsets[-1:]]), of_rows


def product(
    offsets: Tensor, columns: Tensor, values: Tensor, dense: Tensor, pieces: Cut | None = None
) -> Tensor:
    """CSR (n, m) times dense (m, d): (n, d). No gradient is recorded."""
    if dense.is_cuda and (ours := kernels()) is not None:
        made: Tensor = ours.product(offsets, columns, values, dense, pieces)
        return made
    values = values.contiguous()  # cuSPARSE reads it as if it were, and gradients may be expanded
    if not dense.is_cuda:
        # A row is a bag of embeddings. FBGEMM's kernel for those is up to three times as fast as
        # torch's sparse products, with the same bytes (benchmarks/RESULTS.md).
        return F.embedding_bag(
            columns, dense.detach().contiguous(), offsets, mode="sum", per_sample_weights=values,
            include_last_offset=True,
        )  # fmt: skip
    shape = len(offsets) - 1, len(dense)
    return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False) @ dense


class _Multiply(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: Pattern, values: Tensor, dense: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, dense if ctx.needs_input_grad[1] else None)
        return pattern.product(values, dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        pattern, (gradient,) = ctx.pattern, gradients
        values, dense = ctx.saved_tensors
        to_values = to_dense = None
        if ctx.needs_input_grad[1]:
            to_values = _inner_products(pattern, gradient, dense)
        if ctx.needs_input_grad[2]:
            to_dense = pattern.transposed_product(values[pattern.order], gradient)
        return None, to_values, to_dense


class _InnerProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(left, right)
        return _inner_products(pattern, left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        pattern, (gradient,) = ctx.pattern, gradients
        left, right = ctx.saved_tensors
        to_left = to_right = None
        if ctx.needs_input_grad[1]:
            to_left = pattern.product(gradient, right)
        if ctx.needs_input_grad[2]:
            to_right = pattern.transposed_product(gradient[pattern.order], left)
        return None, to_left, to_right


def _inner_products(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """In blocks of entries: on a CPU their vectors stay in the cache, on a card they fit in it."""
    if left.is_cuda and (ours := kernels()) is not None:
        made: Tensor = ours.inner_products(pattern.rows, pattern.columns, left, right)
        return made
    block = max(1, CELLS["cuda" if left.is_cuda else "cpu"] // left.shape[1])
    parts = [
        # Not left[rows]: on a CPU `index_select` copies whole rows, five times as fast.
        left.index_select(0, rows).mul_(right.index_select(0, columns)).sum(1)
        for rows, columns in zip(
            pattern.rows.split(block), pattern.columns.split(block), strict=True
        )
    ]
    return torch.cat(parts)


def multiply(pattern: Pattern, values: Tensor, dense: Tensor) -> Tensor:
    """The sparse (n, m) matrix of `values` (E,) at `pattern`, times `dense` (m, d): (n, d).

    Differentiable in `values` and `dense`.
    """
    result: Tensor = _Multiply.apply(pattern, values, dense)
    return result


def inner_products(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """left[r] · right[c] at every entry (r, c) of `pattern`: (n, d) and (m, d) to (E,).

    Differentiable in `left` and `right`.
    """
    result: Tensor = _InnerProducts.apply(pattern, left, right)
    return result


PATTERN_FIELDS = ("offsets", "columns", "rows", "transposed_offsets", "transposed_columns",
                  "order")  # fmt: skip


class SparseMatrix(nn.Module):
    """A constant sparse matrix that moves with the model; calling it multiplies."""

    def __init__(self, pattern: Pattern, values: Tensor) -> None:
        super().__init__()
        self.shape = (len(pattern.offsets) - 1, len(pattern.transposed_offsets) - 1)
        for name in PATTERN_FIELDS:
            self.register_buffer(name, getattr(pattern, name), persistent=False)
        self.values: Tensor
        self.transposed_values: Tensor
        self.register_buffer("values", values, persistent=False)
        self.register_buffer("transposed_values", values[pattern.order], persistent=False)
        self.ranks, self.transposed_ranks = pattern.ranks, pattern.transposed_ranks
        whole = pattern.with_cuts()
        cuts = whole.cut, whole.transposed_cut
        self.cuts = [pieces is not None for pieces in cuts]
        for which, pieces in enumerate(cuts):
            for part, tensor in enumerate(pieces or ()):
                self.register_buffer(f"cut_{which}_{part}", tensor, persistent=False)

    def _apply(self, *arguments: Any, **options: Any) -> SparseMatrix:
        self.__dict__.pop("pattern", None)  # its tensors are of the device that is left
        return super()._apply(*arguments, **options)

    @cached_property
    def pattern(self) -> Pattern:
        """Its pattern, on the device where the matrix is."""
        pieces, transposed_pieces = (
            (getattr(self, f"cut_{which}_0"), getattr(self, f"cut_{which}_1")) if has else None
            for which, has in enumerate(self.cuts)
        )
        made = Pattern(*(getattr(self, name) for name in PATTERN_FIELDS))
        return replace(
            made, cut=pieces, transposed_cut=transposed_pieces, ranks=self.ranks,
            transposed_ranks=self.transposed_ranks,
        )  # fmt: skip

    def forward(self, dense: Tensor) -> Tensor:
        """(m, d) → (n, d), differentiable."""
        return multiply(self.pattern, self.values, dense)

    def times(self, dense: Tensor) -> Tensor:
        """(m, d) → (n, d), without a gradient."""
        return self.pattern.product(self.values, dense)

    def transposed_times(self, dense: Tensor) -> Tensor:
        """(n, d) → (m, d), without a gradient."""
        return self.pattern.transposed_product(self.transposed_values, dense)

    def to_dense(self) -> Tensor:
        """(n, m), for tests and small graphs."""
        dense = self.values.new_zeros(self.shape)
        pattern = self.pattern
        return dense.index_put_((pattern.rows, pattern.columns), self.values, accumulate=True)
