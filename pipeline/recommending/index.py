"""An approximate index of items for catalogues of a million and more (the extra `index`: faiss).

Items lie in lists around centres (an inverted file, IVF); a search looks through the lists whose
centres are the user's best. What it finds is scored again exactly and ordered as
`model.ranking.rank` does, so that nothing but an item's absence can differ from an exact list.
`benchmarks/index.py` compares it with other indexes. On macOS faiss's and torch's wheels bring an
OpenMP each, which may end the process (faiss-wheels, issue 73): not tried there.

On disk are the centres and each item's list, in safetensors: a hundredth of the items' size, the
same bytes for the same items, and nothing in it that a reader could be made to run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.interactions import Interactions
from model.ranking import BEYOND, NOBODY, InnerProduct, in_order
from pipeline.common.files import InputError, atomic_write

LISTS = 4  # times the square root of the number of items
PROBES = 128  # lists that a search looks through, unless too few of their items may be shown
ROUNDS = 10  # of k-means, from at most SAMPLE items a centre
SAMPLE = 64


class Index:
    """Items (I, D), float32, by maximum inner product."""

    def __init__(self, items: Tensor, centres: Tensor, lists: Tensor) -> None:
        """From centres (L, D), and the number of each item's list (I,); see `build` and `load`."""
        faiss = _faiss()
        self.items, self.centres, self.lists = items, centres, lists
        coarse = faiss.IndexFlatIP(items.shape[1])
        coarse.add(centres.numpy())
        self._index = faiss.IndexIVFFlat(
            coarse, items.shape[1], len(centres), faiss.METRIC_INNER_PRODUCT
        )
        rows, numbers = np.ascontiguousarray(items.numpy()), lists.long().numpy()
        self._index.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(numbers))

    @classmethod
    def build(cls, items: Tensor) -> Index:
        """Index items (I, D), on a CPU: a minute for 1,000,000 of 64 numbers on two cores.

        The same items give the same lists, whatever the number of threads.

        Raises:
            InputError: faiss is not installed.
        """
        count, width = items.shape
        means = _faiss().Kmeans(
            width, min(count, int(LISTS * count**0.5)), niter=ROUNDS, spherical=True,
            min_points_per_centroid=1, max_points_per_centroid=SAMPLE,
        )  # fmt: skip
        rows = np.ascontiguousarray(items.numpy())
        means.train(rows)
        _, lists = means.assign(rows)
        return cls(items, torch.from_numpy(means.centroids), torch.from_numpy(lists).int())

    @classmethod
    def of(cls, items: Tensor, path: Path | None) -> Index:
        """What lies at `path`, if anything does; else built, and saved there if it is named."""
        if path is not None and path.exists():
            return cls.load(path, items)
        index = cls.build(items)
        if path is not None:
            index.save(path)
        return index

    def search(
        self,
        users: Tensor,
        k: int,
        *,
        hidden: Interactions | None = None,
        allowed: Tensor | None = None,
        probes: int = PROBES,
    ) -> tuple[Tensor, Tensor]:
        """Items that are likely the k best of each user, and their scores, as `rank` gives them.

        A user for whom the lists hold fewer than k is searched for in four times as many, until
        k are found or all lists were looked through. Where fewer than k may be shown, `NOBODY`
        follows, with a score of -inf.

        Args:
            users: (b, D) float32.
            hidden: of b users, row n for the n-th: what is not shown.
            allowed: (I,) bool, the items that anybody may be shown.
            probes: lists to begin with; more find more of the best, and take longer.

        Returns:
            (b, k) int64 and (b, k) float32; k at most I.
        """
        faiss, many, k = _faiss(), len(self.items), min(k, len(self.items))
        parameters: dict[str, Any] = {}
        if allowed is not None:
            bits = np.packbits(allowed.numpy(), bitorder="little")
            parameters["sel"] = faiss.IDSelectorBitmap(bits)
        items = torch.full((len(users), k), NOBODY)
        scores = torch.full((len(users), k), -torch.inf)
        short = torch.arange(len(users) if k else 0)
        while len(short):
            probes = min(probes, len(self.centres))
            taken = hidden.of_users(short) if hidden is not None else None
            asked = k + BEYOND + (int(taken.degrees().max()) if taken is not None else 0)
            _, found = self._index.search(
                np.ascontiguousarray(users[short].numpy()), min(asked, many),
                params=faiss.SearchParametersIVF(nprobe=probes, **parameters),
            )  # fmt: skip
            items[short], scores[short] = self._ranked(
                users[short], torch.from_numpy(found), taken, k
            )
            if probes == len(self.centres):
                break
            short = short[items[short, -1] == NOBODY]
            probes *= 4
        return items, scores

    def _ranked(
        self, users: Tensor, found: Tensor, hidden: Interactions | None, k: int
    ) -> tuple[Tensor, Tensor]:
        """The k best of what was found (b, n), scored exactly; `NOBODY` where there are fewer."""
        rows = torch.arange(len(users)).repeat_interleave(found.shape[1])
        scorer = InnerProduct(users, self.items)
        scores = scorer.exact(rows, found.flatten().clamp(min=0)).view(found.shape)
        out = found == NOBODY
        if hidden is not None:
            keys = rows.view(found.shape) * len(self.items) + found
            out |= torch.isin(keys, hidden.users * len(self.items) + hidden.items)
        scores, items = in_order(scores.masked_fill_(out, -torch.inf), found)
        return items[:, :k].masked_fill(scores[:, :k] == -torch.inf, NOBODY), scores[:, :k]

    def save(self, path: Path) -> None:
        """Write centres, lists and the items' hash to `path`, atomically."""
        from safetensors.torch import save

        tensors = {"centres": self.centres, "lists": self.lists}
        atomic_write(path, save(tensors, metadata={"items_sha256": _sha256(self.items)}))

    @classmethod
    def load(cls, path: Path, items: Tensor) -> Index:
        """Read what `save` wrote of these items (I, D).

        Raises:
            InputError: no such file, it is damaged, it is of other items, or faiss is absent.
        """
        try:
            with safe_open(path, framework="pt") as file:
                of = (file.metadata() or {}).get("items_sha256")
                centres, lists = file.get_tensor("centres"), file.get_tensor("lists")
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path}: not readable as an index: {error}; build it anew") from error
        if of != _sha256(items):
            raise InputError(f"{path}: the index of other items than the model's; build it anew")
        fits = lists.shape == items.shape[:1] and centres.shape[1:] == items.shape[1:]
        types = (centres.dtype, lists.dtype) == (torch.float32, torch.int32)
        if not fits or not types or ((lists < 0) | (lists >= len(centres))).any():
            raise InputError(f"{path}: damaged: lists that the items do not fit; build it anew")
        return cls(items, centres, lists)


def _sha256(items: Tensor) -> str:
    """Of the numbers and their shape."""
    shape = f"{items.dtype} {tuple(items.shape)}".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(items.numpy()).data).hexdigest()


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "an approximate index needs faiss: pip install multimodal-recommender[index]"
        ) from error
    return faiss
