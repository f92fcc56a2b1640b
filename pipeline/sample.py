"""Stage `sample`: write the bundled catalogue, synthetic but made of real media files.

    python -m pipeline.sample

Eight hidden topics shape everything: the words of an item, the colours and motif of its image,
the timbre of its audio, the motion of its video, and who likes it. An item follows one topic and
sometimes a second; a user likes one or two. So content helps to predict taste without deciding it.
"""

import csv
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.common import params
from pipeline.common.command import run_stage
from pipeline.common.files import InputError, atomic_folder
from pipeline.common.paths import SAMPLE
from pipeline.synthetic.items import capacity, draw_items
from pipeline.synthetic.media import FOLDERS, media_path, save_media
from pipeline.synthetic.tastes import draw_interactions

log = logging.getLogger("sample")

MEDIA_SHARES = {"image": 0.16, "audio": 0.15, "video": 0.12}


def write_sample(
    folder: Path, *, seed: int, users: int, items: int, interactions_per_user: int
) -> None:
    """Write a catalogue in the raw layout to an empty `folder`; equal seeds give equal bytes.

    About 16 % of the items have an image, 15 % audio and 12 % video, drawn independently; all
    have text. Every user has at least four interactions (fewer only where there are fewer items)
    and about `interactions_per_user` on average. Raises InputError if there are more items than
    distinct titles, and FileExistsError if `folder` already holds media.
    """
    if items > capacity():
        raise InputError(f"sample.items: {items} is more than the {capacity()} distinct titles")
    # Independent streams: a change to the drawings does not change who likes what.
    streams = np.random.SeedSequence(seed).spawn(3)
    words, media, taste = (np.random.Generator(np.random.PCG64(stream)) for stream in streams)
    catalogue = draw_items(items, words)

    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for modality, share in MEDIA_SHARES.items():
        (folder / FOLDERS[modality]).mkdir()
        for turn, row in enumerate(sorted(media.permutation(items)[: round(share * items)])):
            jobs.append((modality, turn, catalogue[row]))
    paths: dict[tuple[str, str], str] = {}
    for modality, turn, item in tqdm(jobs, desc="sample", unit="file", disable=None):
        path = media_path(modality, item, turn)
        save_media(folder / path, modality, item, turn, media)
        paths[item.item_id, modality] = path

    _write_csv(
        folder / "items.csv",
        ("item_id", "title", "text", *MEDIA_SHARES, "topic"),
        (
            (i.item_id, i.title, i.text)
            + tuple(paths.get((i.item_id, modality), "") for modality in MEDIA_SHARES)
            + (i.topic.name,)
            for i in catalogue
        ),
    )
    _write_csv(
        folder / "interactions.csv",
        ("user_id", "item_id", "timestamp"),
        draw_interactions(catalogue, users, interactions_per_user, taste),
    )


def _write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _summary(folder: Path) -> str:
    """Count what was written, for the log."""

    def rows(name: str) -> list[dict[str, str]]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    items, interactions = rows("items.csv"), rows("interactions.csv")
    image, audio, video = (sum(bool(row[m]) for row in items) for m in MEDIA_SHARES)
    users = len({row["user_id"] for row in interactions})
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return (
        f"{len(items):,} items ({image} images, {audio} audio, {video} videos), "
        f"{users:,} users, {len(interactions):,} interactions, {size:.1f} MB"
    )


def main() -> None:
    """Write the sample that `params.yaml` describes, replacing an older one only when complete."""
    sample = params.load().sample
    with atomic_folder(SAMPLE) as folder:
        write_sample(
            folder,
            seed=sample.seed,
            users=sample.users,
            items=sample.items,
            interactions_per_user=sample.interactions_per_user,
        )
    log.info("%s -> %s", _summary(SAMPLE), SAMPLE)


if __name__ == "__main__":
    run_stage(main)
