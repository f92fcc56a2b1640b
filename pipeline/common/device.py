"""What `device` and `precision` in params.yaml stand for."""

import ctypes
import resource
from pathlib import Path

from encoders.precision import check_precision
from pipeline.common.files import InputError


def resolve_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where there is one. InputError for an absent `cuda`."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not valid; valid: auto, cpu, cuda")
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


def reset_peak_memory(device: str) -> int:
    """From here on `peak_memory` counts anew, where the system allows; the bytes held now."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return 1024 * _status("VmRSS")
    except OSError:  # not Linux
        return 0


def peak_memory(device: str) -> int:
    """The most bytes that this process has held: on the card, or resident on a CPU."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        return 1024 * _status("VmHWM")
    except OSError:  # macOS, which counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status(name: str) -> int:
    """Kilobytes, by the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


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
