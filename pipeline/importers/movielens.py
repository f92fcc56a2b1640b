"""MovieLens → the raw layout: ml-100k, ml-1m, ml-10m, and those in CSV (ml-20m to ml-latest).

    python -m pipeline.importers.movielens <source> <dataset>

    ratings.csv  userId,movieId,rating,timestamp        movies.csv  movieId,title,genres
    ratings.dat  user::movie::rating::timestamp         movies.dat  movie::title::genre|genre
    u.data       user item rating timestamp, by tabs    u.item      item|title|...|19 flags
                                                        u.genre     the genres of the flags

The text is the title, with the genres behind it. The sets have no split of their own, but for
ml-100k's ten, which are not read.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipeline.common.files import InputError
from pipeline.common.tables import read_table, row_name
from pipeline.importers.raw_layout import (
    Described,
    RawCatalogue,
    all_ids,
    describe,
    items_table,
    run_importer,
)
from pipeline.importers.tables import read_interactions

log = logging.getLogger("movielens")

OURS = ("user_id", "item_id", "rating", "timestamp")
CSV = ("userId", "movieId", "rating", "timestamp")
# A separator of two characters is one character and an empty column.
DAT = ("user", "", "movie", " ", "rating", "  ", "timestamp")
NO_GENRES = "(no genres listed)"


def read(source: Path) -> RawCatalogue:
    """Read a folder; InputError names the file and the row of what is wrong."""
    names = [name for name in ("ratings.csv", "ratings.dat", "u.data") if (source / name).is_file()]
    if len(names) != 1:
        raise InputError(
            f"{source}: {' and '.join(names) or 'no ratings'}; "
            "exactly one of ratings.csv, ratings.dat and u.data is needed"
        )
    path = source / names[0]
    if path.suffix == ".csv":
        columns = dict(zip(CSV, OURS, strict=True))
        interactions = read_interactions(path, ",", columns, quoted=True)
        movies = read_csv(source / "movies.csv")
    elif path.suffix == ".dat":
        columns = dict(zip(DAT[::2], OURS, strict=True))
        interactions = read_interactions(path, ":", columns, names=DAT)
        movies = read_dat(source / "movies.dat")
    else:
        columns = dict(zip(OURS, OURS, strict=True))
        interactions = read_interactions(path, "\t", columns, names=OURS)
        movies = read_100k(source / "u.item", source / "u.genre")
    return RawCatalogue(items_table(all_ids(interactions, movies), movies), interactions)


def read_csv(path: Path) -> Described:
    """Movies with a header, quoted where a title has a comma."""
    required(path)
    table = read_table(path, {}, ())
    if missing := {"movieId", "title", "genres"} - set(table.column_names):
        raise InputError(
            f"{path}: no column {', '.join(sorted(missing))}; it has "
            f"{', '.join(table.column_names)}"
        )
    rows = zip(*(table[name] for name in ("movieId", "title", "genres")), strict=True)
    texts = ((i.as_py(), t.as_py(), g.as_py()) for i, t, g in rows)
    return listed(path, texts, partial(row_name, path))


def read_dat(path: Path) -> Described:
    """Movies as `movie::title::genre|genre`; a title may have single colons."""

    def rows() -> Iterator[tuple[str, str, str]]:
        for number, line in enumerate(lines(path), 1):
            cells = line.split("::")
            if len(cells) != 3:
                raise InputError(
                    f"{path}: row {number}: {len(cells)} cells; movie::title::genres is needed"
                )
            yield cells[0], cells[1], cells[2]

    return listed(path, rows())


def read_100k(path: Path, genres: Path) -> Described:
    """Movies as `item|title|date|date|address|flag|flag ...`, a flag for each line of u.genre."""
    names = [line.partition("|")[0] for line in lines(genres) if line]

    def rows() -> Iterator[tuple[str, str, str]]:
        for number, line in enumerate(lines(path), 1):
            item, title, *rest = line.split("|")[:2] + line.split("|")[5:]
            if len(rest) != len(names):
                raise InputError(
                    f"{path}: row {number}: {len(rest)} flags; "
                    f"{genres.name} names {len(names)} genres"
                )
            flagged = [name for name, flag in zip(names, rest, strict=True) if flag == "1"]
            yield item, title, "|".join(n for n in flagged if n != "unknown")

    return listed(path, rows())


def listed(
    path: Path,
    rows: Iterator[tuple[str | None, str | None, str | None]],
    name_of: Callable[[int], str] = lambda index: f"row {index + 1}",
) -> Described:
    """item → title and text. InputError if an id is empty or stands twice.

    Args:
        name_of: how an owner finds the row of an index.
    """
    movies: Described = {}
    for index, (item, title, genres) in enumerate(rows):
        if not item or item in movies:
            what = f"item {item} stands in several rows" if item else "the item is empty"
            raise InputError(f"{path}: {name_of(index)}: {what}; one row an item is needed")
        movies[item] = (title, describe(title, None if genres == NO_GENRES else genres))
    return movies


def lines(path: Path) -> list[str]:
    """The file's lines, as UTF-8 if it is that, otherwise as Latin-1, in which the old sets are."""
    required(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        log.info("%s is not UTF-8; read as Latin-1", path)
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")


def required(path: Path) -> None:
    """Raise InputError if there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; the ratings' movies are needed")


if __name__ == "__main__":
    run_importer(read)
