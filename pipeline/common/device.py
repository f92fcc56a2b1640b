"""What `device` and `precision` in params.yaml stand for."""

import ctypes
import resource
import sys

from encoders.precision import check_precision
from pipeline.common.files import InputError


def resolve_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one. InputError for an absent `cuda`."""
    if name == "cpu":
        return name
    if _has_cuda():
        return "cuda"
    if name == "cuda":
        raise InputError(
            "params.yaml: device: 'cuda' but no CUDA device is there; valid: auto, cpu"
        )
    return "cpu"


def reuse_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensor of the size, instead of unmapping it.

    Large activations are else mapped and cleared anew at every layer: a quarter of R(2+1)D's time
    on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mmap_threshold, trim_threshold, most = -3, -1, (1 << 31) - 1
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, most)


def card(device: str) -> str:
    """The name of the card behind `device`; empty for a CPU."""
    if device == "cpu":
        return ""
    import torch

    return torch.cuda.get_device_name(device)


def peak_memory(device: str) -> int:
    """The most bytes that this process has held: on the card, or resident on a CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _has_cuda() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")  # without a driver there is no need to import torch and ask
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def resolve_precision(name: str, device: str, key: str) -> str:
    """`auto` is fp16 on CUDA, fp32 on a CPU. InputError naming `key` if the device has no other."""
    if name == "auto":
        return "fp16" if device == "cuda" else "fp32"
    try:
        check_precision(name, device)
    except ValueError as error:
        raise InputError(f"params.yaml: {key}: {error}") from error
    return name
