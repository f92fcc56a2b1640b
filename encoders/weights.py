"""Where an encoder's weights come from: checked, strict, never a silent change of source.

A user's weights travel as safetensors. Published ones may be pickles: those are read by torch's
restricted unpickler, which builds tensors and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from encoders.download import DownloadError, HubFile, UrlFile, sha256_of

if TYPE_CHECKING:
    from torch import Tensor, nn

BUNDLED = "bundled"
PRETRAINED = "pretrained"
RANDOM = "random initialisation (seed 0)"
DRAWING = {
    "normal_", "trunc_normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_",
    "xavier_normal_", "xavier_uniform_",
}  # fmt: skip
"""What fills a network with random weights: methods of tensors, functions of torch.nn.init."""
VALID = f"{BUNDLED}, {PRETRAINED}, or a folder with <encoder>.safetensors"


class WeightsError(ValueError):
    """The weights asked for cannot be used. The message names the file and what is wrong."""


@dataclass(frozen=True)
class Packaged:
    """A weights file inside an installed Python package, pinned by hash."""

    package: str
    folder: str
    file: str
    revision: str
    sha256: str

    @property
    def directory(self) -> Path:
        """The package's folder that holds the weights and what belongs to them."""
        return Path(str(files(self.package))) / self.folder


@dataclass(frozen=True)
class Layout:
    """How published files name what the module names otherwise.

    Attributes:
        renames: (regular expression, replacement) pairs, applied to every key in this order.
        unused: prefixes of the heads that published files carry and the encoder does not use.
    """

    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()

    def adapt(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`state` under the module's own names, which pass through unchanged."""
        adapted = {}
        for key, value in state.items():
            if not key.startswith(self.unused):
                for pattern, replacement in self.renames:
                    key = re.sub(pattern, replacement, key)
                adapted[key] = value
        return adapted


@dataclass(frozen=True)
class Found:
    """Weights that are there and have the right hash, before any network is built.

    `path` is None for a seeded random initialisation, whose `sha256` only building it can tell.
    """

    source: str
    revision: str
    sha256: str = ""
    path: Path | None = None


def find_weights(
    name: str,
    weights: str,
    packaged: Packaged | None = None,
    published: HubFile | UrlFile | None = None,
) -> Found:
    """The weights of encoder `name` that `weights` names.

    `bundled` is the packaged file, or a seeded random initialisation where there is none;
    `pretrained` is the packaged file too, or the published one, downloaded once; any other value
    is a folder that holds `<name>.safetensors`. Raises WeightsError for anything else, for a file
    that cannot be had, and for a wrong hash.
    """
    expected, revision = "", "unknown"
    if weights in (BUNDLED, PRETRAINED) and packaged is not None:
        path, expected = packaged.directory / packaged.file, packaged.sha256
        revision = packaged.revision
    elif weights == BUNDLED:
        return Found(RANDOM, "none")
    elif weights == PRETRAINED:
        if published is None:
            raise WeightsError(f"{name} has no published weights; valid: {VALID}")
        try:
            path = published.fetch()
        except DownloadError as error:
            raise WeightsError(f"{PRETRAINED}: {error}") from error
        expected, revision = _recorded(path, published.sha256), published.revision
    elif Path(weights).is_dir():
        path = Path(weights) / f"{name}.safetensors"
    else:
        raise WeightsError(f"weights {weights!r} is not valid; valid: {VALID}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; weights is {VALID}")
    digest = sha256_of(path)
    if not digest.startswith(expected):
        raise WeightsError(f"{path}: sha256 is {digest}, not {expected}; remove it, get it anew")
    source = weights if weights in (BUNDLED, PRETRAINED) else str(path)
    return Found(source, revision, digest, path)


def load_weights(
    build: Callable[[], nn.Module], found: Found, layout: Layout | None = None
) -> nn.Module:
    """Build a network on the CPU, in eval mode, with the weights found.

    WeightsError if a key is missing or left over, or a tensor has another shape.
    """
    import torch

    drawn = found.path is None
    # The encoder's numbers do not depend on the caller's random state, nor change it.
    with torch.random.fork_rng(devices=[]), nullcontext() if drawn else _undrawn():
        torch.default_generator.manual_seed(0)
        model = build().eval().requires_grad_(False)
    if found.path is not None:
        load_strict(model, found.path, layout or Layout())
    return model


def _undrawn() -> AbstractContextManager[object]:
    """Leave a network's random initial weights out: a file's take the place of all of them."""
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, _: object, arguments: Any = (), options: Any = None
        ) -> Any:
            options = options or {}
            if getattr(function, "__name__", "") in DRAWING:
                return arguments[0] if arguments else options["tensor"]
            return function(*arguments, **options)

    return Undrawn()


def _recorded(path: Path, known: str) -> str:
    """The pinned hash or, where it is not known in full, the one noted at the first load."""
    if len(known) == 64:
        return known
    note = path.with_name(f"{path.name}.sha256")
    noted = note.read_text().strip() if note.is_file() else ""
    if re.fullmatch(r"[0-9a-f]{64}", noted) and noted.startswith(known):
        return noted
    digest = sha256_of(path)
    if not digest.startswith(known):
        return known  # the caller's check names both
    with suppress(OSError):  # a cache that many share may not be written
        new = note.with_name(f".{note.name}.{os.getpid()}")
        new.write_text(f"{digest}\n")
        new.replace(note)
    return digest


def load_strict(model: nn.Module, path: Path, layout: Layout) -> None:
    """Copy the file's tensors into `model`. WeightsError if a key or shape does not fit."""
    from safetensors import SafetensorError

    try:
        state = layout.adapt(_read_state(path))
    except (SafetensorError, OSError, RuntimeError, UnpicklingError) as error:
        raise WeightsError(f"{path}: not readable as weights: {error}") from error
    own = model.state_dict()
    problems = {
        "missing": own.keys() - state.keys(),
        "unexpected": state.keys() - own.keys(),
        "of another shape": {
            k for k in own.keys() & state.keys() if own[k].shape != state[k].shape
        },
    }
    found = [f"{len(keys)} {what}: {_some(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise WeightsError(f"{path}: keys {'; '.join(found)}")
    model.load_state_dict(state)


def _read_state(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors.torch import load_file

    if path.suffix in (".bin", ".pt", ".pth"):
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return state
    return load_file(path)


def _some(keys: set[str], limit: int = 5) -> str:
    return ", ".join(sorted(keys)[:limit]) + (", ..." if len(keys) > limit else "")


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """sha256 over name, type, shape and bytes of every tensor, in sorted key order."""
    import torch

    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def he_initialise(model: nn.Module) -> nn.Module:
    """He initialisation (fan in, ReLU) of every convolution and linear layer; zero biases.

    It keeps the signal's scale through a deep ReLU network, so that random features still tell
    inputs apart. https://arxiv.org/abs/1502.01852
    """
    from torch import nn

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
