"""A trained model is opened: from the workspace, a revision, or a folder that was exported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from model.config import REFIT, VALIDATED, Config
from model.dataset import Catalogue
from model.experiment import build, system_class
from model.system import System
from model.systems import SYSTEMS, options_class
from pipeline.catalogue.workspace import Source, Workspace
from pipeline.common import paths
from pipeline.common.files import InputError
from pipeline.common.revisions import WORKSPACE, read_at
from pipeline.recommending.histories import fitted_on, union

DATA = Path("data")


def place(folder: Path, path: Path) -> Path:
    """Where an exported folder has a file of the workspace."""
    return folder / path.relative_to(DATA)


def source_of(name: str | Path) -> Source:
    """Where the files of what `name` names are read from.

    Args:
        name: `workspace`; an exported folder; an experiment, commit, branch or tag.

    Raises:
        InputError: it names none of these.
    """
    here = Path.cwd()  # some files are read later, and folders may be changed meanwhile
    if name == WORKSPACE:
        return lambda path: here / path
    folder = here / name
    if place(folder, paths.MODEL).is_file():
        return lambda path: place(folder, path)
    if isinstance(name, Path) or Path(name).is_absolute():
        raise InputError(f"{folder}: holds no exported model ({place(folder, paths.MODEL)})")
    read = read_at(str(name))
    return lambda path: pa.BufferReader(read(path))


def read_model(source: Source) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What the file of a trained model says of it, and its tensors by name.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = source(paths.MODEL)
    if isinstance(file, Path):
        if not file.is_file():
            raise InputError(f"{file}: there is no trained model yet; run `dvc repro train`")
        raw = file.read_bytes()
    else:
        raw = file.read()
    try:
        tensors = load(raw)
        # safetensors reads metadata from files alone; its header is JSON behind its length.
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
        return json.loads(header["__metadata__"]["recommender"]), tensors
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"{paths.MODEL}: not readable as a trained model ({type(error).__name__}: {error}); "
            "make it again: `dvc repro train`, or export it anew"
        ) from error


def fitted_system(
    workspace: Workspace,
    description: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    device: torch.device,
) -> System:
    """The system that was trained.

    Raises:
        InputError: it is of another catalogue than the workspace's, or of other code; a file of
            the catalogue is absent or damaged.
    """
    try:
        require_current(description, workspace)
    except (FileNotFoundError, pa.ArrowException) as error:
        raise InputError(
            f"a file beside {paths.MODEL} is absent or damaged: {error}; make it again "
            "(`dvc repro`), or export the model anew"
        ) from error
    name, record = description["system"], description["parameters"]
    if name not in SYSTEMS:
        raise InputError(
            f"{paths.MODEL}: a system {name!r} is not here; valid: {', '.join(SYSTEMS)}"
        )
    own = {
        key.removeprefix("options."): v for key, v in record.items() if key.startswith("options.")
    }
    if record.get("protocol") == REFIT:
        record = record | {"protocol": VALIDATED}  # as systems are given it
    try:
        options = options_class(name)(**own)
        config = Config.of(options, record)
        content = workspace.content if options.content else []
        catalogue = Catalogue(union(workspace.splits, fitted_on(description)), content)
        system = build(system_class(name), catalogue, config, description["seed"])
        system.load(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{paths.MODEL}: was made by other code ({type(error).__name__}: {error}); "
            "run `dvc repro train`"
        ) from error
    return system.to(device)


def require_current(description: Mapping[str, Any], workspace: Workspace) -> None:
    """InputError if a model was trained on other interactions, or content, than there are now."""
    trained_on = description.get("data", {})
    there = workspace.hashes if "content" in trained_on else workspace.interaction_hashes
    for part, digest in there.items():
        if trained_on.get(part) != digest:
            raise InputError(
                f"{paths.MODEL}: was trained on another {part} than there is now; run `dvc repro`"
            )


def takers() -> list[str]:
    """The systems that can take new items: those that read content, some only if they are asked."""
    content = {name: options_class(name).content for name in SYSTEMS}
    return [n if reads is True else f"{n} with content" for n, reads in content.items() if reads]
