"""Where an encoder's weights come from: checked, strict, never a silent change of source.

Nothing is unpickled: weights travel as safetensors.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

BUNDLED = "bundled"
RANDOM = "random initialisation (seed 0)"
VALID = f"{BUNDLED}, or a folder with <encoder>.safetensors"


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
class Loaded:
    """Where the weights in a model came from."""

    source: str
    revision: str
    sha256: str


def load_weights(
    name: str,
    build: Callable[[], nn.Module],
    weights: str,
    packaged: Packaged | None = None,
    layout: Layout | None = None,
) -> tuple[nn.Module, Loaded]:
    """Build encoder `name` on the CPU, in eval mode, with the weights that `weights` names.

    `bundled` is the packaged file, or a seeded random initialisation where there is none; any
    other value is a folder that holds `<name>.safetensors`. Raises WeightsError for anything else,
    for a wrong hash, and for missing or left-over keys. A further source (`pretrained`: downloaded
    and hash-checked) belongs here, beside the two that name a file.
    """
    path, expected, source, revision = _locate(name, weights, packaged)
    # The encoder's numbers do not depend on the caller's random state, nor change it.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = build().eval().requires_grad_(False)
    if path is None:
        return model, Loaded(source, revision, state_sha256(model.state_dict()))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if expected is not None and digest != expected:
        raise WeightsError(f"{path}: sha256 is {digest}, not {expected}; install it anew")
    load_strict(model, path, layout or Layout())
    return model, Loaded(source, revision, digest)


def _locate(
    name: str, weights: str, packaged: Packaged | None
) -> tuple[Path | None, str | None, str, str]:
    """The file to read (None: none), its hash if known, source and revision."""
    if weights == BUNDLED:
        if packaged is None:
            return None, None, RANDOM, "none"
        path = packaged.directory / packaged.file
        return path, packaged.sha256, BUNDLED, packaged.revision
    if not Path(weights).is_dir():
        raise WeightsError(f"weights {weights!r} is not valid; valid: {VALID}")
    path = Path(weights) / f"{name}.safetensors"
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; weights is {VALID}")
    return path, None, str(path), "unknown"


def load_strict(model: nn.Module, path: Path, layout: Layout) -> None:
    """Copy the file's tensors into `model`. WeightsError if a key or shape does not fit."""
    try:
        state = layout.adapt(load_file(path))
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not readable as safetensors: {error}") from error
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


def _some(keys: set[str], limit: int = 5) -> str:
    return ", ".join(sorted(keys)[:limit]) + (", ..." if len(keys) > limit else "")


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """sha256 over name, type, shape and bytes of every tensor, in sorted key order."""
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
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model
