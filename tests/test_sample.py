"""The bundled catalogue: real media, reproducible to the byte, and worth learning from."""

import csv
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from scipy import stats

from pipeline import sample as stage
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.sample import write_sample
from pipeline.synthetic.topics import TOPICS

DEFAULTS = asdict(load(Path(__file__).parents[1] / "params.yaml").sample)
SMALL = {"seed": 3, "users": 8, "items": 30, "interactions_per_user": 5}
CROWD = {"seed": 3, "users": 3000, "items": 40, "interactions_per_user": 5}
MEDIA = ("image", "audio", "video")
START = 1_704_067_200  # 2024-01-01 00:00 UTC
DAY = 86400


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


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few items and many users: enough to measure what draws the interactions."""
    folder = tmp_path_factory.mktemp("crowd") / "sample"
    write_sample(folder, **CROWD)
    return folder


def histories(folder: Path) -> dict[str, list[dict[str, str]]]:
    found = defaultdict(list)
    for row in _rows(folder / "interactions.csv"):
        found[row["user_id"]].append(row)
    return found


def _second(row: dict[str, str]) -> str | None:
    """The second topic of an item, whose label ends its text."""
    last = row["text"].split(". ")[-1]
    found = [t.name for t in TOPICS if t.label in last and t.name != row["topic"]]
    return found[0] if found else None


def _mono(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray().astype(float)
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    return samples.mean(0)


def _agreement(vectors: list[np.ndarray], topics: list[str]) -> float:
    """How often an item's nearest neighbour, by standardised vectors, has its topic."""
    x, y = stats.zscore(np.array(vectors)), np.array(topics)
    distances = np.square(x[:, None] - x[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(y[distances.argmin(1)] == y))


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


def test_words_media_and_taste_are_drawn_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More users change no item, other media no word and no user; the first users stay."""
    write_sample(tmp_path / "a", **SMALL)
    write_sample(tmp_path / "b", **{**SMALL, "users": 12})
    first, second = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    longer = second.pop("interactions.csv")
    shorter = first.pop("interactions.csv")
    assert longer.startswith(shorter) and first == second
    monkeypatch.setitem(stage.MEDIA_SHARES, "image", 0.3)
    write_sample(tmp_path / "c", **SMALL)
    assert (tmp_path / "c/interactions.csv").read_bytes() == shorter
    a, c = (_rows(tmp_path / name / "items.csv") for name in "ac")
    assert [row["text"] for row in a] == [row["text"] for row in c]
    assert [row["image"] for row in a] != [row["image"] for row in c]


def test_enough_items_have_each_modality(items: list[dict[str, str]]) -> None:
    assert len(items) == DEFAULTS["items"]
    assert all(row["text"] for row in items)
    assert [sum(bool(row[modality]) for row in items) for modality in MEDIA] == [
        round(share * DEFAULTS["items"]) for share in (0.16, 0.15, 0.12)
    ]
    both = sum(bool(row["image"] and row["audio"]) for row in items)
    assert 2 <= both <= 20  # drawn apart, about 0.16 * 0.15 of 400
    owned = Counter(sum(bool(row[modality]) for modality in MEDIA) for row in items)
    assert owned[0] and owned[1] and owned[2]


def test_tables_list_every_file_in_every_format(sample: Path, items: list[dict[str, str]]) -> None:
    listed = {row[modality] for row in items for modality in MEDIA if row[modality]}
    assert listed | {"items.csv", "interactions.csv"} == _bytes(sample).keys()
    suffixes = Counter(Path(name).suffix for name in listed)
    assert suffixes.keys() == {".jpg", ".png", ".wav", ".flac", ".mp3", ".mp4"}
    for modality, expected in (
        ("image", {".jpg": 32, ".png": 32}),
        ("audio", {".wav": 20, ".flac": 20, ".mp3": 20}),
        ("video", {".mp4": 48}),
    ):
        names = [Path(row[modality]) for row in items if row[modality]]
        assert Counter(name.suffix for name in names) == expected
        assert {str(name.parent) for name in names} == {
            "images" if modality == "image" else modality
        }
    for row in items:
        assert all(Path(row[m]).stem == row["item_id"] for m in MEDIA if row[m])
    assert list(items[0]) == ["item_id", "title", "text", *MEDIA, "topic"]
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 6e6


def test_images_open(sample: Path, items: list[dict[str, str]]) -> None:
    sizes, colours, topics = set(), [], []
    for row in filter(lambda row: row["image"], items):
        with Image.open(sample / row["image"]) as image:
            image.load()
            assert image.mode == "RGB"
            assert image.format == {".jpg": "JPEG", ".png": "PNG"}[Path(row["image"]).suffix]
            assert 160 <= min(image.size) <= max(image.size) <= 256
            sizes.add(image.size)
            pixels = np.asarray(image, float)
            colours.append(np.r_[pixels.mean((0, 1)), pixels.std((0, 1))])
            topics.append(row["topic"])
    assert len(sizes) > 20
    assert _agreement(colours, topics) > 0.8  # by chance 0.125


def test_audio_opens(sample: Path, items: list[dict[str, str]]) -> None:
    forms, spectra, topics = set(), [], []
    edges = 50 * 2 ** np.arange(8)  # octaves up to 6.4 kHz
    for row in filter(lambda row: row["audio"], items):
        with av.open(str(sample / row["audio"])) as container:
            frames = list(container.decode(audio=0))
        rate = frames[0].sample_rate
        forms.add((rate, frames[0].layout.nb_channels))
        assert 1.15 <= sum(frame.samples for frame in frames) / rate <= 2.6
        wave = np.concatenate([_mono(frame) for frame in frames])
        assert abs(wave).max() > 0
        power = abs(np.fft.rfft(wave / abs(wave).max()))
        octave = np.digitize(np.fft.rfftfreq(wave.size, 1 / rate), edges)
        spectra.append(np.log([power[octave == o].mean() + 1e-3 for o in range(1, 8)]))
        topics.append(row["topic"])
    assert {rate for rate, _ in forms} == {16000, 22050, 44100}
    assert {channels for _, channels in forms} == {1, 2}
    assert _agreement(spectra, topics) > 0.6  # by chance 0.125


def test_videos_open_and_move(sample: Path, items: list[dict[str, str]]) -> None:
    colours, topics, rates = [], [], set()
    for row in filter(lambda row: row["video"], items):
        with av.open(str(sample / row["video"])) as container:
            rate = container.streams.video[0].average_rate
            coloured = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        frames = [frame.mean(-1) for frame in coloured]
        rates.add(rate)
        assert len(frames) == round(1.2 * rate)
        assert 112 <= frames[0].shape[1] <= 176
        assert abs(frames[0] - frames[len(frames) // 2]).max() > 20
        colours.append(np.r_[np.mean(coloured, (0, 1, 2)), np.std(coloured, (0, 1, 2))])
        topics.append(row["topic"])
    assert rates == {15, 20, 25}
    assert _agreement(colours, topics) > 0.8  # by chance 0.125


def test_ids_are_unique_and_interactions_refer_to_items(
    items: list[dict[str, str]], interactions: list[dict[str, str]]
) -> None:
    ids = [row["item_id"] for row in items]
    assert ids == [f"item-{n:04}" for n in range(1, DEFAULTS["items"] + 1)]
    assert {row["item_id"] for row in interactions} <= set(ids)
    pairs = [(row["user_id"], row["item_id"]) for row in interactions]
    assert len(set(pairs)) == len(pairs)
    users = list(dict.fromkeys(user for user, _ in pairs))
    assert users == [f"user-{n:04}" for n in range(1, DEFAULTS["users"] + 1)]


def test_titles_are_unique_and_open_the_text(items: list[dict[str, str]]) -> None:
    assert len({row["title"] for row in items}) == len(items)
    for row in items:
        assert row["text"].startswith(row["title"])
        assert "{" not in row["text"] and row["text"].endswith(".")
        assert 1 <= row["text"].count(". ") + 1 <= 3


def test_words_follow_the_topics(items: list[dict[str, str]]) -> None:
    assert Counter(row["topic"] for row in items) == {topic.name: 50 for topic in TOPICS}
    topics = {topic.name: topic for topic in TOPICS}
    for row in items:
        topic, title = topics[row["topic"]], row["title"]
        short = [n for n in topic.nouns.split("|") for a in topic.adjectives.split("|")
                 if f"{a} {n}" == title or title.startswith(f"{a} {n} ")]  # fmt: skip
        assert short
        assert any(detail in row["text"] for detail in topic.details.split("|"))
    tails = [any(row["title"].endswith(t) for t in topics[row["topic"]].tails.split("|"))
             for row in items]  # fmt: skip
    assert 150 <= sum(tails) <= 250  # short and long titles alternate
    seconds = [(row["topic"], second) for row in items if (second := _second(row))]
    assert 0.3 < len(seconds) / len(items) < 0.5
    assert {second for _, second in seconds} == topics.keys()


def test_every_user_has_four_interactions_in_order_of_time(
    interactions: list[dict[str, str]],
) -> None:
    times = defaultdict(list)
    for row in interactions:
        times[row["user_id"]].append(int(row["timestamp"]))
    assert min(map(len, times.values())) >= 4
    assert len(interactions) / len(times) == pytest.approx(DEFAULTS["interactions_per_user"], abs=1)
    assert all(sorted(set(history)) == history for history in times.values())
    assert min(map(min, times.values())) > START


def test_counts_and_times_are_drawn_as_they_should(crowd: Path) -> None:
    users = histories(crowd)
    lengths = np.array([len(rows) for rows in users.values()])
    # Poisson, but never below 4.
    k = np.arange(100)
    mean = CROWD["interactions_per_user"]
    assert lengths.min() == 4
    assert lengths.mean() == pytest.approx(np.maximum(k, 4) @ stats.poisson.pmf(k, mean), abs=0.15)
    assert (lengths == 4).mean() == pytest.approx(stats.poisson.cdf(4, mean), abs=0.04)
    times = [[int(row["timestamp"]) for row in rows] for rows in users.values()]
    gaps = np.concatenate([np.diff([START, *history]) for history in times])
    assert gaps.min() >= 1
    assert gaps.mean() == pytest.approx(5 * DAY, rel=0.05)
    assert gaps.std() == pytest.approx(5 * DAY, rel=0.05)  # exponential


def test_taste_and_popularity_choose(crowd: Path) -> None:
    items = {row["item_id"]: row for row in _rows(crowd / "items.csv")}
    degrees = Counter(row["item_id"] for row in _rows(crowd / "interactions.csv"))
    assert degrees.keys() == items.keys()
    ratio = max(degrees.values()) / min(degrees.values())
    assert 1.6 < ratio < 4  # 40^0.25 = 2.5 is the ratio of popularities
    favourites, kinds = Counter(), []
    for rows in histories(crowd).values():
        liked = Counter(items[row["item_id"]]["topic"] for row in rows)
        kinds.append(len(liked))
        favourite, count = liked.most_common(1)[0]
        if count < 3:
            continue
        for row in rows:
            item = items[row["item_id"]]
            if (second := _second(item)) and item["topic"] != favourite:
                favourites[second == favourite] += 1
    assert 2.7 < np.mean(kinds) < 3.3  # one or two topics, second ones, now and then another
    # Were the second topic of no account, 1 in 7 of the second topics would be the favourite.
    assert favourites[True] / favourites.total() > 0.3


def test_fewer_items_than_interactions(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample", **{**SMALL, "items": 3})
    assert all(len({r["item_id"] for r in rows}) == len(rows) == 3
               for rows in histories(tmp_path / "sample").values())  # fmt: skip
    with pytest.raises(FileExistsError):
        write_sample(tmp_path / "sample", **SMALL)


def test_the_stage_replaces_the_sample_by_what_params_describes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    yaml = YAML()
    data = yaml.load(Path(__file__).parents[1] / "params.yaml")
    data["sample"] = dict(SMALL)
    yaml.dump(data, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/raw/sample"
    folder.mkdir(parents=True)
    (folder / "old.txt").write_text("old")
    with caplog.at_level("INFO"):
        stage.main()
    write_sample(tmp_path / "expected", **SMALL)
    assert _bytes(folder) == _bytes(tmp_path / "expected")
    rows = len(_rows(folder / "interactions.csv"))
    assert f"30 items (5 images, 4 audio, 4 videos), 8 users, {rows} interactions" in caplog.text


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
    # 8 topics of 8 x 8 titles, each alone or with one of 4 tails.
    for items in (8 * 64 * 5 + 1, 10**6):
        with pytest.raises(InputError, match=f"{items} is more than the 2560 distinct titles"):
            write_sample(tmp_path / "sample", **{**SMALL, "items": items})
    assert not (tmp_path / "sample").exists()
