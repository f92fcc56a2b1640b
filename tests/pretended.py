"""A CUDA card that is pretended on the CPU.

Its tensors say cuda:0 and hold their numbers on the CPU; to torch's C++ they are on `meta`, whose
backward needs no card. What a card would refuse raises: devices that are mixed, a generator of the
other device. What makes the host wait for the card is counted. Kernels are the CPU's, and so
are the results; half precision is not pretended.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)
ROOT = Path(__file__).parents[1]
CODE = tuple(str(ROOT / name) for name in ("encoders", "model", "pipeline", "tests"))

# Their sizes or results depend on numbers that the host must read first.
READING = {"_linalg_check_errors", "_local_scalar_dense", "_unique2", "bincount", "equal",
           "masked_select", "nonzero", "repeat_interleave", "unique_consecutive",
           "unique_dim"}  # fmt: skip
INDEXING = {"index", "index_put_", "_index_put_impl_"}
COPYING = {"copy_", "_to_copy"}


class Pretended(Tensor):
    """A tensor on the card; `held` has its numbers."""

    held: Tensor
    device = property(lambda self: CARD)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: type, held: Tensor) -> "Pretended":
        place = {}
        if held.layout == torch.strided:
            place = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, dtype=held.dtype, device="meta", **place
        )
        made.held = held
        return made

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_indices(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        index = _indices(index)
        indices = index if isinstance(index, tuple) else (index,)
        if not isinstance(value, Tensor) and any(isinstance(i, Tensor) for i in indices):
            value = torch.tensor(value, dtype=self.dtype)  # as torch does it on a real card
        super().__setitem__(index, value)

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, *_: Any) -> Any:
        raise RuntimeError(f"{func}: a tensor on the card is used where no card is pretended")


class Card(TorchDispatchMode):
    """Runs what is asked of the card.

    Attributes:
        waits: (operation, the project's line that asked for it) → how often the host waited.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[tuple[str, str]] = Counter()
        self.generators: dict[int, torch.Generator] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler: 4 s

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.rpartition("::")[2]
        tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        mine = [t for t in tensors if isinstance(t, Pretended)]
        others = [t for t in tensors if not isinstance(t, Pretended)]
        device = kwargs.get("device")
        on_card = bool(mine) if device is None else torch.device(device).type != "cpu"
        self._refuse(name, args, mine, others)
        generator = kwargs.get("generator")
        if generator is not None and (generator._cdata in self.generators) != on_card:
            raise RuntimeError(f"{name}: a generator of the other device, {line()}")
        self._count(name, args, kwargs, mine, others, on_card)
        held, options = pytree.tree_map_only(Pretended, lambda t: t.held, (args, kwargs))
        if device is not None:
            options["device"] = CPU
        if name == "mm" and held[0].layout == torch.sparse_csr:
            made = torch.sparse.mm(held[0], held[1].contiguous(), "sum")  # adds as the CPU's kernel
        else:
            made = func(*held, **options)
        if isinstance(made, Tensor):  # what was written to stays the same object
            for index, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    return kwargs[argument.name] if argument.name in kwargs else args[index]
        return pytree.tree_map_only(Tensor, Pretended, made) if on_card else made

    def _refuse(self, name: str, args: Any, mine: list[Tensor], others: list[Tensor]) -> None:
        """RuntimeError where a card would not go on."""
        if any(t.is_meta for t in others):
            raise RuntimeError(f"{name}: a tensor on meta, which none should be, {line()}")
        # A single number may come from the CPU, and so may indices, which are copied then.
        mixed = [t for t in others if t.dim() or "fused" in name] if mine else []
        if name in INDEXING and isinstance(args[0], Pretended):
            mixed = [t for t in mixed if not any(t is index for index in args[1])]
        if mixed and name not in COPYING:
            shapes = [tuple(t.shape) for t in mixed]
            raise RuntimeError(f"{name}: {shapes} on the CPU, the others on the card, {line()}")
        if name == "sparse_compressed_tensor" and not all(t.is_contiguous() for t in mine):
            raise RuntimeError(f"{name}: of tensors that are not contiguous, {line()}")

    def _count(
        self, name: str, args: Any, kwargs: Any, mine: list[Tensor], others: list[Tensor],
        on_card: bool,
    ) -> None:  # fmt: skip
        """Count what the host would wait for."""
        indices = [i for i in args[1] if i is not None] if mine and name in INDEXING else []
        if mine and name in READING and kwargs.get("output_size") is None:
            self.waits[name, line()] += 1
        if any(i.dtype == torch.bool for i in indices):
            self.waits["indexing by a mask", line()] += 1
        if indices and name != "index" and args[2].device == CPU:
            self.waits["copy to the card", line()] += 1
        if any(i.device == CPU for i in indices):
            self.waits["indices on the CPU", line()] += 1
        crosses = bool(mine and others) if name == "copy_" else bool(mine) != on_card
        overlaps = kwargs.get("non_blocking") or (name == "copy_" and any(args[2:]))
        if name in COPYING and crosses and not overlaps:
            self.waits["copy to the card" if on_card else "copy to the CPU", line()] += 1


def _indices(index: Any) -> Any:
    return torch.tensor(index) if isinstance(index, list) else index  # C++ makes one on meta


def line() -> str:
    """The project's innermost line that is running: its file and number."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(CODE) and file != __file__:
            return f"{Path(file).relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "backward"


@contextmanager
def pretended_cuda() -> Iterator[Counter[tuple[str, str]]]:
    """Pretend a card; the waits that have been counted."""
    card, tensor = Card(), torch.tensor

    class Generator(torch._C.Generator):
        def __new__(cls, device: Any = "cpu") -> "Generator":
            made = super().__new__(cls, "cpu")
            if torch.device(device).type == "cuda":
                card.generators[made._cdata] = made
            return made

    def tensor_on(data: Any, *, device: Any = None, **options: Any) -> Tensor:
        made: Tensor = tensor(data, **options)  # to C++, one on the card would be on meta
        return made if device is None else made.to(device)

    pretences: dict[str, Any] = {
        "torch.Generator": Generator,
        "torch.tensor": tensor_on,
        # Its tensors forget their class.
        "torch.inference_mode": lambda mode=True: torch.set_grad_enabled(not mode),
        "torch.Tensor.pin_memory": lambda self: self,
        # What a real card alone can do: `test_kernels`, `test_cuda`.
        "model.sparse.kernels": lambda: None,
        "model.fitting.can_replay": lambda device: False,
        "torch.cuda._lazy_init": lambda: None,
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.mem_get_info": lambda device=None: (1 << 34, 1 << 34),
        # The card draws from the CPU's generator.
        "torch.cuda.get_rng_state": lambda device="cuda": torch.get_rng_state(),
        "torch.cuda.set_rng_state": lambda state, device="cuda": torch.set_rng_state(state),
    }
    torch._C._ensureCUDADeviceGuardSet()
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with ExitStack() as stack:
            for name, pretence in pretences.items():
                stack.enter_context(patch(name, pretence))
            stack.enter_context(card)
            yield card.waits
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)
