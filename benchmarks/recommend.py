"""`rank` for all users beside a blocked product and `topk` written by hand.

    python -m benchmarks.recommend [rounds]

Users and items of MovieLens1M's numbers, around common centres, with 90 seen items a user on
average; k = 50. In turn within one process: ratios of medians and of the best rounds.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from model.interactions import Interactions
from model.ranking import CELLS, InnerProduct, rank
from pipeline.common.device import reuse_freed_memory

USERS, ITEMS, SEEN, K = 6040, 3043, 90, 50


def embeddings(d: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    centres = torch.randn(20, d)
    items = centres[torch.randint(20, (ITEMS,))] + torch.randn(ITEMS, d)
    users = centres[torch.randint(20, (USERS,))] + torch.randn(USERS, d)
    return users / d**0.5, items * torch.exp(0.35 * torch.randn(ITEMS, 1)) / d**0.5


def history() -> Interactions:
    torch.manual_seed(1)
    items = (torch.rand(USERS * SEEN) ** 2 * ITEMS).long()  # the popular ones more often
    return Interactions.of(torch.randint(USERS, (USERS * SEEN,)), items, USERS, ITEMS)


def plain(users: Tensor, items: Tensor, block: Tensor, seen: Interactions | None) -> None:
    scores = users[block] @ items.T
    if seen is not None:
        offsets, entries = seen.entries(block)
        rows = torch.arange(len(block)).repeat_interleave(offsets.diff())
        scores[rows, seen.items[entries]] = -torch.inf
    scores.topk(K, dim=1)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    reuse_freed_memory()
    seen, blocks = history(), torch.arange(USERS).split(CELLS["cpu"] // ITEMS)
    for d in (64, 256):
        users, items = embeddings(d)
        scorer = InnerProduct(users, items)
        calls: dict[str, Callable[[Tensor], object]] = {
            "rank": lambda block, s=scorer: rank(s, block, K, seen=seen),
            "by hand": lambda block, u=users, i=items: plain(u, i, block, seen),
            "by hand, nothing hidden": lambda block, u=users, i=items: plain(u, i, block, None),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                for block in blocks:
                    call(block)
                took[name].append(time.perf_counter() - start)
        ours = took["rank"][1:]
        print(f"d {d}: {USERS / statistics.median(ours):,.0f} users/s", end="")
        for name in list(calls)[1:]:
            theirs = took[name][1:]
            ratio = statistics.median(theirs) / statistics.median(ours)
            print(f"; ÷ {name} {ratio:.2f} (best rounds {min(theirs) / min(ours):.2f})", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
