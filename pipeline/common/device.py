"""What `device` and `precision` in params.yaml stand for."""

import ctypes
import logging
import re
import resource
from functools import cache
from pathlib import Path

from encoders.precision import check_precision
from pipeline.common.files import InputError

log = logging.getLogger("device")


def resolve_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is CUDA where a card is there that this torch has kernels for.

    InputError for a `cuda` that is absent or cannot be used.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device: {name!r} is not valid; valid: auto, cpu, cuda")
    if name == "cpu":
        return name
    lacking = _without_kernels() if _has_cuda() else "no CUDA device is there"
    if not lacking:
        return "cuda"
    if name == "cuda":
        raise InputError(f"params.yaml: device: 'cuda' but {lacking}; valid: auto, cpu")
    if _has_cuda():
        _say_once(f"device: auto is the CPU here: {lacking}")
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


def _without_kernels() -> str:
    """What torch lacks for the card that is there; empty where it can be used."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    for kind, *digits in re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(built)):
        own = int(digits[0]), int(digits[1])
        # Machine code runs on later cards of its generation, PTX on all later ones.
        if own <= (major, minor) and (kind == "compute" or own[0] == major):
            return ""
    name = torch.cuda.get_device_name()
    return f"torch {torch.__version__} has no kernels for {name} (sm_{major}{minor}), but for " + (
        ", ".join(built) or "no card"
    )


@cache
def _say_once(message: str) -> None:
    log.warning("%s", message)


def resolve_precision(name: str, device: str, key: str) -> str:
    """`auto` is fp16 on CUDA, fp32 on a CPU. InputError naming `key` if the device has no other."""
    if name == "auto":
        return "fp16" if device == "cuda" else "fp32"
    try:
        check_precision(name, device)
    except ValueError as error:
        raise InputError(f"params.yaml: {key}: {error}") from error
    return name
