"""The bundled catalogue: real media, reproducible to the byte, and worth learning from."""

import csv
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import av
import pytest
from PIL import Image

from pipeline.files import InputError
from pipeline.params import load
from pipeline.sample import write_sample

DEFAULTS = asdict(load(Path(__file__).parents[1] / "params.yaml").sample)
SMALL = {"seed": 3, "users": 8, "items": 30, "interactions_per_user": 5}
MEDIA = ("image", "audio", "video")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "sample"
    write_sample(folder, **DEFAULTS)
    return folder


@pytest.fixture(scope="module")
def items(sample: Path) -> list[dict[str, str]]:
    return _rows(sample / "items.csv")


@pytest.fixture(scope="module")
def interactions(sample: Path) -> list[dict[str, str]]:
    return _rows(sample / "interactions.csv")


def test_the_same_seed_gives_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path, **DEFAULTS)
    first, second = _bytes(sample), _bytes(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_gives_another_catalogue(tmp_path: Path) -> None:
    write_sample(tmp_path / "a", **SMALL)
    write_sample(tmp_path / "b", **{**SMALL, "seed": 4})
    first, second = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    assert first["items.csv"] != second["items.csv"]
    assert first["interactions.csv"] != second["interactions.csv"]
    shared = [name for name in first.keys() & second.keys() if not name.endswith(".csv")]
    assert all(first[name] != second[name] for name in shared)


def test_enough_items_have_each_modality(items: list[dict[str, str]]) -> None:
    assert len(items) == DEFAULTS["items"]
    assert all(row["text"] for row in items)
    for modality in MEDIA:
        assert sum(bool(row[modality]) for row in items) >= 40
    owned = Counter(sum(bool(row[modality]) for modality in MEDIA) for row in items)
    assert owned[0] and owned[1] and owned[2]


def test_tables_list_every_file_in_every_format(sample: Path, items: list[dict[str, str]]) -> None:
    listed = {row[modality] for row in items for modality in MEDIA if row[modality]}
    assert listed | {"items.csv", "interactions.csv"} == _bytes(sample).keys()
    suffixes = Counter(Path(name).suffix for name in listed)
    assert suffixes.keys() == {".jpg", ".png", ".wav", ".flac", ".mp3", ".mp4"}
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 6e6


def test_images_open(sample: Path, items: list[dict[str, str]]) -> None:
    sizes = set()
    for row in filter(lambda row: row["image"], items):
        with Image.open(sample / row["image"]) as image:
            image.load()
            assert image.mode == "RGB"
            assert image.format == {".jpg": "JPEG", ".png": "PNG"}[Path(row["image"]).suffix]
            assert 160 <= min(image.size) <= max(image.size) <= 256
            sizes.add(image.size)
    assert len(sizes) > 20


def test_audio_opens(sample: Path, items: list[dict[str, str]]) -> None:
    forms = set()
    for row in filter(lambda row: row["audio"], items):
        with av.open(str(sample / row["audio"])) as container:
            frames = list(container.decode(audio=0))
        rate = frames[0].sample_rate
        forms.add((rate, frames[0].layout.nb_channels))
        assert 1.15 <= sum(frame.samples for frame in frames) / rate <= 2.6
        assert max(abs(frame.to_ndarray()).max() for frame in frames) > 0
    assert {rate for rate, _ in forms} == {16000, 22050, 44100}
    assert {channels for _, channels in forms} == {1, 2}


def test_videos_open_and_move(sample: Path, items: list[dict[str, str]]) -> None:
    for row in filter(lambda row: row["video"], items):
        with av.open(str(sample / row["video"])) as container:
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert len(frames) >= 16
        assert 112 <= frames[0].shape[1] <= 176
        assert abs(frames[0].astype(int) - frames[len(frames) // 2]).max() > 20


def test_ids_are_unique_and_interactions_refer_to_items(
    items: list[dict[str, str]], interactions: list[dict[str, str]]
) -> None:
    ids = [row["item_id"] for row in items]
    assert len(set(ids)) == len(ids)
    assert {row["item_id"] for row in interactions} <= set(ids)
    pairs = [(row["user_id"], row["item_id"]) for row in interactions]
    assert len(set(pairs)) == len(pairs)
    assert len({user for user, _ in pairs}) == DEFAULTS["users"]


def test_titles_are_unique_and_open_the_text(items: list[dict[str, str]]) -> None:
    assert len({row["title"] for row in items}) == len(items)
    for row in items:
        assert row["text"].startswith(row["title"])
        assert "{" not in row["text"] and row["text"].endswith(".")


def test_every_user_has_four_interactions_in_order_of_time(
    interactions: list[dict[str, str]],
) -> None:
    times = defaultdict(list)
    for row in interactions:
        times[row["user_id"]].append(int(row["timestamp"]))
    assert min(map(len, times.values())) >= 4
    assert len(interactions) / len(times) == pytest.approx(DEFAULTS["interactions_per_user"], abs=1)
    assert all(sorted(set(history)) == history for history in times.values())


def test_users_return_to_their_topics_without_staying_there(
    items: list[dict[str, str]], interactions: list[dict[str, str]]
) -> None:
    topics = {row["item_id"]: row["topic"] for row in items}
    history = defaultdict(list)
    for row in interactions:
        history[row["user_id"]].append(topics[row["item_id"]])
    top = [sum(n for _, n in Counter(h).most_common(2)) / len(h) for h in history.values()]
    assert 0.5 < sum(top) / len(top) < 0.95  # by chance alone it is about 0.43


def test_too_many_items_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="distinct titles"):
        write_sample(tmp_path / "sample", **{**SMALL, "items": 10**6})
    assert not (tmp_path / "sample").exists()
