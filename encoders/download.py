"""Published files: pinned, fetched once, checked, then read from disk without a network."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ADVICE = (
    "connect to the network once, or set `weights` to a folder with <encoder>.safetensors, "
    "or to bundled"
)
TRIES = 3  # each goes on where the one before broke off
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 1 << 20


class DownloadError(Exception):
    """A file cannot be had. The message says why and what to do."""


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class HubFile:
    """A file of a model hub's repository, at a commit. HF_HOME and HF_HUB_OFFLINE apply."""

    repository: str
    file: str
    revision: str
    sha256: str = ""

    def fetch(self) -> Path:
        """The local file, downloaded unless it is cached."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.repository, self.file, revision=self.revision))
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            name = f"{self.repository}@{self.revision}/{self.file}"
            reason = str(error).strip().splitlines()[0]
            raise DownloadError(
                f"{name} is not cached and not to be had ({reason}); {ADVICE}"
            ) from error


@dataclass(frozen=True)
class UrlFile:
    """A file at an address, kept where torch.hub keeps its own (TORCH_HOME applies).

    `sha256` may be a prefix, as in torch.hub's file names, or empty.
    """

    url: str
    sha256: str = ""
    revision: str = "none"

    @property
    def path(self) -> Path:
        """Where the file lies once it is there."""
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints" / self.url.rsplit("/", 1)[-1]

    def fetch(self) -> Path:
        """The local file, downloaded unless it is cached."""
        return fetch_url(self.url, self.path, self.sha256)


def fetch_url(url: str, path: Path, sha256: str, advice: str = ADVICE) -> Path:
    """The file at `url` as `path`, downloaded unless it is there.

    Only a whole, right file gets its name: bytes gather beside it, in `<name>.part`, where the
    next call goes on. Raises DownloadError, with `advice` if the file is not to be had.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        _download(url, part, advice)
        digest = sha256_of(part)
        if not digest.startswith(sha256):
            part.unlink()
            raise DownloadError(f"{url}: sha256 is {digest}, not {sha256}")
        os.replace(part, path)
    return path


def _download(url: str, part: Path, advice: str) -> None:
    """All of the file into `part`, going on from what is there."""
    for _ in range(TRIES):
        try:
            if _transfer(url, part):
                return
            reason = "the transfer broke off"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing lies behind what is there; its hash tells if whole
                return
            reason = str(error)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
    raise DownloadError(f"{url} is not cached and not to be had ({reason}); {advice}")


def _transfer(url: str, part: Path) -> bool:
    """One connection; whether it brought everything that was announced."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        length = answer.headers.get("Content-Length")
        total = None if length is None else int(length) + (have if resumed else 0)
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=have if resumed else 0, desc=part.stem, unit="B",
                 unit_scale=True, disable=None) as bar,
        ):  # fmt: skip
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    return total is None or part.stat().st_size == total
