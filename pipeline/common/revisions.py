"""Files as they were: of an experiment, a commit, a branch or a tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.common.files import InputError

WORKSPACE = "workspace"
"""The name of what there is now, beside those of revisions."""

Read = Callable[[Path], bytes]


def read_at(revision: str) -> Read:
    """What reads a file as it was at a revision, wherever Git and DVC keep it.

    Raises:
        InputError: there is no such revision or, when reading, no such file then.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    if not revision:  # which DVC would take for the workspace
        raise InputError("an empty name is no revision; say `workspace` if that is meant")
    files = DVCFileSystem(rev=revision)
    try:
        files.repo  # noqa: B018 (opens it)
    except RevError as error:
        raise InputError(
            f"{revision}: no experiment, commit, branch or tag is called so; `dvc exp list "
            "--all-commits` and `git log` name them"
        ) from error
    except DvcException as error:
        raise InputError(f"{revision}: {error}") from error

    def read(path: Path) -> bytes:
        try:
            files.info(str(path))
        except FileNotFoundError as error:
            raise InputError(
                f"{revision}: there was no {path} then; run its parameters again with the present "
                "code (`dvc exp run -S …`)"
            ) from error
        try:
            return bytes(files.read_bytes(str(path)))
        except (DvcException, OSError) as error:
            raise InputError(
                f"{revision}: its {path} is in no DVC cache or remote that can be reached; make it "
                "again: `dvc exp apply` (an experiment) or `git checkout`, then `dvc repro train`"
            ) from error

    return read
