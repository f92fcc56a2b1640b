"""Where a raw catalogue lies: a folder of this machine, or an address that fsspec opens.

`s3://bucket/my-shop` and its like need the library of their kind, s3fs for instance. Media stay
there: each is fetched when it is decoded. Tables and ready-made features are mirrored, once each
as long as they are what they were.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline.common import paths
from pipeline.common.files import (
    TABLE_SUFFIXES,
    InputError,
    abandoned,
    atomic_folder,
    atomic_path,
    atomic_write,
)

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "Path | UPath"

LISTED = "mirrored.json"  # of a mirror: its files, and what told their state


def place_of(name: str) -> Place:
    """The folder or address that a user names. InputError if nothing opens such an address.

    A folder has no address, since DVC knows none of that kind.
    """
    protocol, address, path = name.partition("://")
    if not address:
        return Path(name)
    if protocol in ("file", "local"):
        raise InputError(f"{name}: DVC takes no such address; give the folder itself: {path}")
    from upath import UPath

    try:
        place = UPath(name)
        place.fs  # noqa: B018 - its library is imported only here
    except (ImportError, ValueError) as error:
        raise InputError(
            f"{name}: {error}; valid: a folder, or an address that fsspec opens, such as "
            "s3://bucket/my-shop with the extra `s3`: pip install -e '.[s3]'"
        ) from error
    return place


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """What the library of a filesystem raises, as OSError: each has exceptions of its own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{place}: {type(error).__name__}: {error}") from error


@contextmanager
def fetched(file: Place) -> Iterator[Path]:
    """The file on this machine, as long as the block runs: itself, or a copy of its own name.

    Raises:
        OSError: there is no such file, or it cannot be fetched.
    """
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        with reaching(file):
            file.fs.get_file(file.path, str(copy))
        yield copy


def sha256_at(file: UPath) -> str:
    """Hexadecimal sha256 of what lies at an address. OSError if that is no file, or not read."""
    with reaching(file), file.open("rb") as stream:
        if getattr(stream, "details", {}).get("type") == "directory":  # S3's read as empty
            raise IsADirectoryError(f"{file}: a folder, not a file")
        return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def mirrored(dataset: Place) -> Path:
    """The folder with a catalogue's tables and features: `dataset` itself, or its mirror.

    Files that have not changed since they were last mirrored are not fetched again; what is not
    there any more goes.

    Raises:
        InputError: the address is no folder, or cannot be reached.
    """
    if isinstance(dataset, Path):
        return dataset
    protocol = dataset.protocol or "file"
    folder = paths.of_repository(paths.MIRRORS) / protocol / dataset.path.strip("/")
    try:
        with reaching(dataset):
            _mirror(dataset, folder)
    except NotADirectoryError:
        raise InputError(f"{dataset}: no such folder; a catalogue is one") from None
    except OSError as error:
        raise InputError(f"{dataset}: cannot be read: {error}") from error
    return folder


def _mirror(dataset: UPath, folder: Path) -> None:
    """NotADirectoryError if the address is no folder. Several processes may do it at a time."""
    fs = dataset.fs
    fs.invalidate_cache()
    try:
        top = fs.ls(dataset.path, detail=True)
    except FileNotFoundError:
        raise NotADirectoryError from None
    if [entry["name"].strip("/") for entry in top] == [dataset.path.strip("/")]:
        raise NotADirectoryError  # a file lists itself
    folders = {_name(entry) for entry in top if entry["type"] == "directory"}
    files = {_name(entry): entry for entry in top if _is_table(entry)}
    if "features" in folders:
        inner = fs.ls((dataset / "features").path, detail=True)
        files |= {f"features/{_name(entry)}": entry for entry in inner if entry["type"] == "file"}
    listed = folder / LISTED
    known = _known(listed)
    for path in sorted(folder.rglob("*"), reverse=True):
        name = str(path.relative_to(folder))
        writing = path.name.startswith(".") and not abandoned(path)
        if name not in files and name not in folders and path != listed and not writing:
            shutil.rmtree(path, True) if path.is_dir() else path.unlink(missing_ok=True)
    for name in folders:  # what is meant for features may be named otherwise
        (folder / name).mkdir(parents=True, exist_ok=True)
    told = tells_changes(dataset)
    states = {n: str(fs.ukey(entry["name"])) if told else None for n, entry in files.items()}
    for name, entry in files.items():
        same = states[name] is not None and states[name] == known.get(name)
        if not (same and (folder / name).is_file()):
            with atomic_path(folder / name) as temporary:
                fs.get_file(entry["name"], str(temporary))
    if states != known or not listed.is_file():
        atomic_write(listed, json.dumps(states) + "\n")


def tells_changes(place: Place) -> bool:
    """Whether a change there is seen without fetching: of HTTP, fsspec has the address alone."""
    return isinstance(place, Path) or place.protocol not in ("http", "https")


def _known(listed: Path) -> dict[str, str | None]:
    try:
        known: dict[str, str | None] = json.loads(listed.read_text())
    except (OSError, ValueError):
        return {}
    return known


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rpartition("/")[2]


def _is_table(entry: dict[str, Any]) -> bool:
    """Also one that is named a little otherwise than it should be: `find_table` says so."""
    path = Path(_name(entry).lower())
    like = path.stem.startswith(("item", "inte"))
    return entry["type"] == "file" and like and path.suffix in TABLE_SUFFIXES


@contextmanager
def new_folder(folder: Place) -> Iterator[Path]:
    """Yield a temporary folder that becomes `folder` if the block succeeds.

    Raises:
        InputError: something is there already. What others have put there is never replaced.
    """
    with reaching(folder):
        there = folder.exists()
    refused = InputError(f"{folder}: is there already; name a new folder, or remove it first")
    if there:
        raise refused
    if isinstance(folder, Path):
        try:
            with atomic_folder(folder, replace=False) as temporary:
                yield temporary
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise refused from error  # it came meanwhile
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
        with reaching(folder):
            try:
                folder.fs.put(f"{name}/", f"{folder.path}/", recursive=True)
            except BaseException:
                with suppress(Exception):  # nothing may have arrived yet
                    folder.fs.rm(folder.path, recursive=True)
                raise
