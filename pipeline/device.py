"""The device that `device` in params.yaml stands for."""

import torch

from pipeline.files import InputError


def resolve_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one. InputError where `cuda` is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "params.yaml: device: 'cuda' but no CUDA device is there; valid: auto, cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
