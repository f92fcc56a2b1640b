"""Steps as CUDA graphs: a small one takes its kernels' time, not that of launching them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor


class Replayed:
    """A function of one tensor that is recorded once for every length and replayed from then on.

    It must do the same with every tensor of a length: read no number from the card, make tensors of
    the same shapes, keep what it changes in the same places. The first calls run as they are, so
    that all that is made but once is there.

    Args:
        function: of (n,) numbers; its result is what it changes.
        generator: what it draws from, besides torch's global one.
    """

    WARM: ClassVar[int] = 2  # calls of a length before it is recorded

    def __init__(self, function: Callable[[Tensor], None], generator: torch.Generator) -> None:
        self.function, self.generator = function, generator
        self.calls: dict[int, int] = {}
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, given: Tensor) -> None:
        length = len(given)
        if length not in self.graphs:
            self.calls[length] = self.calls.get(length, 0) + 1
            if self.calls[length] <= self.WARM:
                self.function(given)
                return
            self._record(given)
        graph, place = self.graphs[length]
        place.copy_(given)
        graph.replay()

    def _record(self, given: Tensor) -> None:
        """Nothing runs yet."""
        gc.collect()  # an earlier graph that is freed while this one is recorded would end it
        graph, place = torch.cuda.CUDAGraph(), given.clone()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph):
            self.function(place)
        self.graphs[len(given)] = graph, place


def can_replay(device: torch.device) -> bool:
    """Whether there are such graphs."""
    return device.type == "cuda"
