"""Public catalogues, for those with a network: splits and titles → the raw layout.

    python -m pipeline.download dbbook|ml1m

Shows the terms, fetches what is not there yet to `.cache/downloads/<name>/` (pinned, resumed,
checked by hash) and writes `data/raw/<name>`.
"""

import csv
import logging
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from encoders.download import DownloadError, fetch_url
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import InputError, atomic_folder
from pipeline.importers.lightgcn import FILES, read, read_split
from pipeline.importers.raw_layout import write_dataset

log = logging.getLogger("download")

ADVICE = "the same command goes on where it was"

GITHUB = "https://raw.githubusercontent.com"
SPLITS = f"{GITHUB}/muscif/neo-mmlgcn/6c7155fefa22c0e42fc4625ae523af67742078a2/data"
LIKINGS = (
    f"{GITHUB}/swapUniba/UMAP23_KARSCombiningGNNsEncSentenceEnc/"
    "d94fc009ac570a40b9ef2a5605027b789cbbad30/dbbook"
)
MOVIELENS = "https://files.grouplens.org/datasets/movielens"

Description = tuple[str, str, str]
"""Item, title, genres."""


@dataclass(frozen=True)
class Dataset:
    """A public catalogue.

    Attributes:
        terms: under which it may be used, shown before anything is fetched.
        files: name in the folder of downloads → address and sha256.
        describe: reads that folder and says what is known of the items.
    """

    terms: str
    files: dict[str, tuple[str, str]]
    describe: Callable[[Path], Iterable[Description]]


def books(folder: Path) -> list[Description]:
    """Titles of DBbook's items: the splits number the books by who was first to like one.

    `likings.tsv` has a line `user, entity, 0 or 1` for each judgement in the training data,
    `entities.tsv` a line `entity, title;address`.
    """
    judgements = (line.split("\t") for line in _lines((folder / "likings.tsv").read_bytes()))
    liked = dict.fromkeys(entity for _, entity, verdict in judgements if verdict == "1")
    entities = dict(
        line.split("\t", 1) for line in _lines((folder / "entities.tsv").read_bytes(), "utf-8")
    )
    return [(str(item), entities[e].split(";http")[0], "") for item, e in enumerate(liked)]


LIKED = 4  # stars, from which on the splits count a rating
WITHOUT = {3598, 4349, 4486, 5850}  # MovieLens' users who like nothing that is in the splits


def films(folder: Path) -> list[Description]:
    """Titles and genres of ml1m's items, which are known by the users who like them.

    The splits number users and films in the order of MovieLens' ids. Films that the very same
    users like stand in one order in both; if the splits lack some of them, none gets a title.
    """
    with zipfile.ZipFile(folder / "ml-1m.zip") as archive:  # members are read, never extracted
        movies, ratings = (_lines(archive.read(f"ml-1m/{n}.dat")) for n in ("movies", "ratings"))
    titles = dict(line.split("::", 1) for line in movies)
    liked = defaultdict[str, set[int]](set)
    users = set()
    for line in ratings:
        user, film, stars, _ = line.split("::")
        users.add(int(user))
        if int(stars) >= LIKED:
            liked[film].add(int(user))
    users_of_splits = sorted(users - WITHOUT)
    held = defaultdict[str, set[int]](set)
    for name in FILES.values():
        for reader, item in zip(*read_split(folder / name), strict=True):
            held[item].add(users_of_splits[int(reader)])

    films_of, items_of = _by_users(liked), _by_users(held)
    pairs = [
        pair
        for group, items in items_of.items()
        if len(films_of.get(group, [])) == len(items)
        for pair in zip(items, films_of[group], strict=True)
    ]
    if not pairs:
        raise InputError(f"{folder}: no film of the splits is one of ml-1m.zip's")
    return [(item, *_title_and_genres(titles[film])) for item, film in pairs]


def _by_users(liked: dict[str, set[int]]) -> dict[frozenset[int], list[str]]:
    """Those who like it → what they like, in the order of ids."""
    groups = defaultdict[frozenset[int], list[str]](list)
    for name in sorted(liked, key=int):
        groups[frozenset(liked[name])].append(name)
    return groups


def _title_and_genres(description: str) -> tuple[str, str]:
    title, _, genres = description.rpartition("::")
    return title, genres


def _lines(content: bytes, encoding: str = "latin-1") -> list[str]:
    """Lines end in nothing but a newline; to str.splitlines, latin-1 has others."""
    return content.decode(encoding).replace("\r\n", "\n").rstrip("\n").split("\n")


DATASETS = {
    "dbbook": Dataset(
        terms=(
            "DBbook: what readers think of books, from the ESWC 2014 challenge on recommending "
            "with linked data; splits from https://github.com/muscif/neo-mmlgcn, titles from "
            "https://github.com/swapUniba/UMAP23_KARSCombiningGNNsEncSentenceEnc. Neither place "
            "states a licence: for your own research, and not to be passed on"
        ),
        files={
            "train.txt": (
                f"{SPLITS}/dbbook/train.txt",
                "36788d543ef840388f4a8b8e0586d6dcc70f6b96d37f1bfe85f2358214e7afaf",
            ),
            "validation.txt": (
                f"{SPLITS}/dbbook/validation.txt",
                "167fdb15e766142efa5c9f3aeb34c7d931f93d0e7cc3c9da5a88d428677b9251",
            ),
            "test.txt": (
                f"{SPLITS}/dbbook/test.txt",
                "aa085891184fe32630296173154a56462c376d64ecb0125476440bf66516ff4a",
            ),
            "likings.tsv": (
                f"{LIKINGS}/train.tsv",
                "f4951e091abe7922026b4d8d867e1ed561eda9e7540bf0c0021496bc059316b5",
            ),
            "entities.tsv": (
                f"{LIKINGS}/mapping_entities.tsv",
                "96337cd06b47014ae92b63acdf425cbbb0a55029cb0f8b6abde7640d53e12ced",
            ),
        },
        describe=books,
    ),
    "ml1m": Dataset(
        terms=(
            "MovieLens 1M, of GroupLens: for research; acknowledged in publications; neither "
            "passed on nor used commercially without GroupLens' permission. The terms: "
            f"{MOVIELENS}/ml-1m-README.txt. Splits from https://github.com/muscif/neo-mmlgcn, "
            "which states no licence"
        ),
        files={
            "train.txt": (
                f"{SPLITS}/ml1m/train.txt",
                "eb8834999c457e782c631bcb279049bffbf7793ede8a0b5f337ebcc394e0ce15",
            ),
            "validation.txt": (
                f"{SPLITS}/ml1m/validation.txt",
                "4f1ddaa36d684367752a0251da6a56381d4288279b83c320809f70953379e356",
            ),
            "test.txt": (
                f"{SPLITS}/ml1m/test.txt",
                "c1a51264788b681ce8c8cd1789b06b8049614295321cd64631ea68feb5c1ffc1",
            ),
            "ml-1m.zip": (
                f"{MOVIELENS}/ml-1m.zip",
                "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
            ),
        },
        describe=films,
    ),
}


def download(name: str) -> None:
    """Make `data/raw/<name>`, unless it is there."""
    target, folder, dataset = paths.RAW / name, paths.DOWNLOADS / name, DATASETS[name]
    if target.exists():
        log.info("%s is there already; remove it to have it made anew", target)
        return
    log.info("%s", dataset.terms)
    try:
        for file, (url, sha256) in dataset.files.items():
            fetch_url(url, folder / file, sha256, ADVICE)
    except DownloadError as error:
        raise InputError(str(error)) from error
    with (folder / "items.tsv").open("w", encoding="utf-8", newline="") as listing:
        writer = csv.writer(listing, delimiter="\t", lineterminator="\n")
        writer.writerow(("item", "title", "genres"))
        writer.writerows(dataset.describe(folder))
    with atomic_folder(target) as made:
        write_dataset(made, read(folder))
    log.info("-> %s; next: dvc exp run -n %s -S dataset=%s train", target, name, target)


def main() -> None:
    match sys.argv[1:]:
        case [name] if name in DATASETS:
            download(name)
        case _:
            raise InputError(f"usage: python -m pipeline.download {'|'.join(DATASETS)}")


if __name__ == "__main__":
    run_stage(main)
