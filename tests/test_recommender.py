"""A trained model that is asked, by API, command and file, ranks as the evaluation did."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import rounding
from ruamel.yaml import YAML
from small import EMBEDDING_SYSTEMS, ITEMS, USERS, write_workspace

from model.systems import SYSTEMS, options_class
from pipeline import recommend, train
from pipeline.browsing.finding import Finder, with_part
from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.recommending import NewItem, Recommender
from pipeline.recommending.ids import Ids
from pipeline.recommending.new_items import read_new_items

ROOT = Path(__file__).parents[1]
TAKERS = [name for name in SYSTEMS if options_class(name).content]
COMMON = {
    "train.epochs": 4,
    "train.dimension": 8,
    "train.batch_size": 50,
    "systems.ease.content_weight": 1.0,
}


def write_params(folder: Path, **changes: Any) -> None:
    yaml = YAML()
    data = yaml.load(ROOT / "params.yaml")
    for dotted, value in {**COMMON, **changes}.items():
        *parents, last = dotted.split(".")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = value
    yaml.dump(data, folder / "params.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """System → a folder in which it was trained, ties among its scores included."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in SYSTEMS:
            folder = tmp_path_factory.mktemp(name)
            write_workspace(folder)
            write_params(folder, fusion=name)
            patch.chdir(folder)
            train.main()
            folders[name] = folder
    return folders


@pytest.fixture
def shop(trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Recommender:
    monkeypatch.chdir(trained["frozen"])
    return Recommender.open()


def evaluated(split: str = "test") -> dict[str, list[str]]:
    """User → the evaluation's list."""
    users = pq.read_table("data/prepared/users.parquet")["user_id"].to_pylist()
    items = pq.read_table("data/prepared/items.parquet")["item_id"].to_pylist()
    rows = pq.read_table("data/models/lists.parquet").to_pylist()
    return {users[r["user"]]: [items[i] for i in r["items"]] for r in rows if r["split"] == split}


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["recommend", *arguments])
        recommend.main()
    return capsys.readouterr().out


def ids(picks: list[Any]) -> list[str]:
    return [pick.item_id for pick in picks]


def near(
    scores: list[float], shop: Recommender, user: str | None, liked: list[str] | None = None
) -> Any:
    """These scores of a user, or of a new one by what they liked, however they are rounded."""
    asker = shop._asker(user, liked, "nothing")
    return pytest.approx(scores, rel=0, abs=rounding(asker.scorer, asker.row).item())


@pytest.mark.parametrize("name", SYSTEMS)
def test_all_ways_to_ask_agree_with_the_evaluation(
    name: str, trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(trained[name])
    shop, lists = Recommender.open(), evaluated()
    assert len(lists) > 10
    for k in (1, 10, ITEMS):
        each = dict(shop.recommend_each(k=k))
        assert list(each) == [f"u{n:02}" for n in range(USERS)]
        for user, expected in lists.items():
            assert ids(each[user]) == ids(shop.recommend(user, k)) == expected[:k]
    some = dict(shop.recommend_each(["u07", "u03"], k=5))
    assert list(some) == ["u07", "u03"] and ids(some["u03"]) == ids(each["u03"][:5])
    assert [p.score for p in some["u03"]] == near([p.score for p in each["u03"][:5]], shop, "u03")
    # The command, to the terminal and to a file.
    printed = run("u03", "-k", "10", capsys=capsys).splitlines()
    assert [line.split()[2] for line in printed[1:]] == lists["u03"][:10]
    run("--all", "-k", "7", "--to", str(tmp_path / "lists.parquet"), capsys=capsys)
    table = pq.read_table(tmp_path / "lists.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "score"]
    for user, expected in lists.items():
        mine = [row for row in table.to_pylist() if row["user_id"] == user]
        assert [row["item_id"] for row in mine] == expected[:7]
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
    assert json.loads(table.schema.metadata[b"recommender"])["system"] == name
    # An exported folder, with none of the data in reach.
    run("--export", str(tmp_path / "mine"), capsys=capsys)
    monkeypatch.chdir(tmp_path)
    elsewhere = Recommender.open(tmp_path / "mine")
    assert dict(elsewhere.recommend_each(k=ITEMS)) == each
    assert elsewhere.similar("i05", 4) == shop.similar("i05", 4)


@pytest.mark.parametrize("name", SYSTEMS)
def test_scores_and_why(
    name: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained[name])
    shop = Recommender.open()
    picks = shop.recommend("u04", 6)
    scores = shop.score("u04", ids(picks))
    assert scores == near([pick.score for pick in picks], shop, "u04")
    assert scores == sorted(scores, reverse=True)
    told = shop.why("u04", picks[0].item_id, most=100)
    assert told.item.score == pytest.approx(scores[0])
    if told.parts:
        assert sum(told.parts.values()) == pytest.approx(scores[0], abs=1e-5)
        assert sum(told.shares.values()) == pytest.approx(1, abs=1e-4)
    modalities = {"text", "image", "audio"} if options_class(name).content else set()
    if name in EMBEDDING_SYSTEMS:
        assert modalities <= told.parts.keys()
    if name in ("ease", "itemknn", "contentknn"):
        assert sum(one.score for one in told.liked) == pytest.approx(scores[0], abs=1e-5)
        assert set(ids(list(told.liked))) == set(shop.history("u04", "train"))


def test_what_is_hidden(shop: Recommender) -> None:
    known = {split: set(shop.history("u02", split)) for split in ("train", "validation", "test")}
    assert set(shop.history("u02")) == known["train"] | known["validation"]
    history, everything, nothing = (
        set(ids(shop.recommend("u02", ITEMS, hide=hide))) for hide in ("history", "all", "nothing")
    )
    assert len(nothing) == ITEMS
    assert nothing - history == known["train"] | known["validation"]
    assert history - everything == known["test"] - known["train"] - known["validation"]
    liked = shop.history("u02")
    assert not set(ids(shop.recommend(liked=liked, k=ITEMS))) & set(liked)
    assert len(shop.recommend(liked=liked, k=ITEMS, hide="nothing")) == ITEMS


def test_allowed_and_blocked(shop: Recommender) -> None:
    whole = ids(shop.recommend("u02", ITEMS))
    allowed = [whole[4], whole[1], whole[9]]
    assert ids(shop.recommend("u02", allow=allowed)) == [whole[1], whole[4], whole[9]]
    assert ids(shop.recommend("u02", 3, block=whole[:2])) == whole[2:5]
    assert ids(shop.recommend("u02", allow=allowed, block=[whole[4]])) == [whole[1], whole[9]]
    assert shop.recommend("u02", allow=[]) == []
    for _, picks in shop.recommend_each(k=3, block=whole[:20]):
        assert not set(ids(picks)) & set(whole[:20])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.recommend("u2"), r"user 'u2' is not there: there are 20 users, from 'u00' to "
         r"'u19'; did you mean '"),
        (lambda s: s.recommend(7), r"user 7: an id is a text, such as 'u00'"),
        (lambda s: s.recommend("u02", 0), r"k: 0 is not valid; a whole number from 1 on is"),
        (lambda s: s.recommend("u02", True), r"k: True is not valid"),
        (lambda s: s.recommend("u02", hide="seen"), r"hide: 'seen' is not valid; valid: history, "
         "all, nothing"),
        (lambda s: s.recommend("u02", allow=["nix"]), r"item 'nix' is not there: there are 30 it"),
        (lambda s: s.recommend("u02", block="i01"), r"items 'i01': a list of ids is needed"),
        (lambda s: s.recommend(), r"name a user, or what a new user liked"),
        (lambda s: s.recommend("u02", liked=["i01"]), r"name a user, or what a new user liked"),
        (lambda s: s.recommend(liked=[]), r"known by items that the model was fitted on"),
        (lambda s: s.score("u02", ["i01", "x"]), r"item 'x' is not there"),
        (lambda s: s.similar("i01", by="taste"), r"by: 'taste' is not valid; valid: model, "
         r"collaboration, content, text, image, audio"),
        (lambda s: s.similar("i01", by="image"), r"item 'i01' has no image"),
        (lambda s: s.why("u02", "x"), r"item 'x' is not there"),
        (lambda s: s.history("u02", "tests"), r"split 'tests' is not valid; valid: train, valid"),
        (lambda s: list(s.recommend_each(["u02", "u99"])), r"user 'u99' is not there"),
        (lambda s: s.with_items([NewItem("i01", {"text": np.ones(6)})]), r"'i01' is there already"),
        (lambda s: s.with_items([NewItem("n", {})]), r"item 'n': a new item is known by its c"),
        (lambda s: s.with_items([NewItem("n", {"smell": np.ones(3)})]), r"no item of the catalogue "
         "has 'smell'; valid: text, image, audio"),
        (lambda s: s.with_items([NewItem("n", {"video": np.ones(3)})]), r"no item .* has 'video'"),
        (lambda s: s.with_items([NewItem("n", {"text": np.ones(3)})]), r"item 'n': text: a vector "
         r"of 6 finite numbers is needed; its shape is \(3,\)"),
        (lambda s: s.with_items([NewItem("n", {"text": np.full(6, np.nan)})]), r"6 finite numbers"),
        (lambda s: s.with_items([NewItem("n", {"text": "words"})]), r"text: .* are ready-made"),
        *((lambda s, v=v: s.with_items([NewItem("n", {"text": v})]),
           r"item 'n': text: a vector of 6 finite numbers is needed")
          for v in (b"abc", ["a"] * 6, {}, None, np.ones(6) * 1j, [1e300] * 6,
                    torch.ones(6, requires_grad=True))),
        *((lambda s, i=i: s.with_items([NewItem(i, {"text": np.ones(6)})]),
           r"an id is a text that shows something, without control")
          for i in (5, "", " \u200b", "a\x1b[31m", "\ud800")),
        (lambda s: s.with_items([NewItem("i01 ", {"text": np.ones(6)})]), r"there already"),
        (lambda s: s.with_items([NewItem(" n", {"text": np.ones(6)}),
                                 NewItem("n", {"text": np.ones(6)})]), r"'n' is there already"),
        (lambda s: s.recommend("\ud800"), r"user '\\ud800' is not there"),
        (lambda s: Recommender.open(device="tpu"), r"device: 'tpu' is not valid; valid: auto, cpu"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(ask: Any, message: str, shop: Recommender) -> None:
    with pytest.raises(InputError, match=message):
        ask(shop)


def test_what_is_given_may_be_any_kind_of_number_or_iterable(shop: Recommender) -> None:
    assert shop.recommend("u02", np.int64(3)) == shop.recommend("u02", 3)
    vectors = (np.arange(6, dtype=np.float16), torch.arange(6), list(range(6)))
    more = shop.with_items(NewItem(f"n{n} ", {"text": v}) for n, v in enumerate(vectors))
    scores = more.score("u02", ["n0", "n1", "n2"])
    assert scores == pytest.approx([scores[0]] * 3, abs=1e-6) and scores[0] != 0


def test_a_path_is_no_text(shop: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words would be encoded in place of what the file says."""

    class Encoder:
        takes_text = True

    monkeypatch.setattr(shop.encoders, "_encoder", lambda *_: Encoder())
    with pytest.raises(InputError, match="item 'n': text: it is taken as str, not a path"):
        shop.with_items([NewItem("n", {"text": Path("words.txt")})])


def test_ids_are_read_as_catalogues_are(shop: Recommender) -> None:
    assert shop.recommend(" u02\u200b") == shop.recommend("u02")


def test_titles(shop: Recommender, trained: dict[str, Path]) -> None:
    assert shop.title("i04") == "i04"
    items = pq.read_table("data/prepared/items.parquet")
    titles = pa.array([None, "  ", "A\nB"] + ["x"] * (ITEMS - 3))
    changed = items.set_column(1, "title", titles)
    try:
        pq.write_table(changed, "data/prepared/items.parquet")
        named = Recommender.open()
        assert [named.title(f"i0{n}") for n in range(4)] == ["i00", "i01", "A B", "x"]
        new = named.with_items([NewItem("n", {"text": np.ones(6)}, "New <b>")])
        assert new.title("n") == "New <b>" and new.title("i02") == "A B"
    finally:
        pq.write_table(items, "data/prepared/items.parquet")


@pytest.mark.parametrize("by", ["model", "collaboration", "content", "text", "image"])
def test_similar_items(by: str, shop: Recommender) -> None:
    """By dense cosines."""
    embeddings = shop.system.embeddings()
    assert embeddings is not None
    if by == "model":
        unit = torch.nn.functional.normalize(embeddings[1].double())
        cosines = unit @ unit.T
    elif by == "collaboration":
        x = shop.workspace.splits["train"].block(0, USERS).double()
        norms = x.norm(dim=0).clamp(min=1)
        cosines = x.T @ x / norms / norms[:, None]
        cosines = torch.where(cosines > 0, cosines, -torch.inf)  # nobody has both
    else:
        chosen = [m for name, m in shop.content.items() if by in ("content", name)]
        total, count = torch.zeros(ITEMS, ITEMS, dtype=torch.float64), torch.zeros(ITEMS, ITEMS)
        for m in chosen:
            unit = torch.nn.functional.normalize(m.vectors.double())
            both = m.present[:, None] & m.present
            total += unit @ unit.T * both
            count += both
        cosines = torch.where(count > 0, total / count.clamp(min=1), -torch.inf)
    for row in (9, 20):
        got = shop.similar(f"i{row:02}", 8, by)
        expected = sorted(
            (i for i in range(ITEMS) if i != row),
            key=lambda i: (-round(float(cosines[row, i]), 6), i),
        )
        assert [pick.score for pick in got] == pytest.approx(
            [float(cosines[row, i]) for i in expected[:8] if cosines[row, i] > -torch.inf], abs=1e-5
        )
        assert f"i{row:02}" not in ids(got)
        comparable = int(cosines[row].isfinite().sum()) - 1
        assert len(shop.similar(f"i{row:02}", ITEMS, by)) == comparable


@pytest.mark.parametrize("name", SYSTEMS)
def test_somebody_new(name: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system folds in, within a caller's inference mode too; order and repeats of likes do
    not count."""
    monkeypatch.chdir(trained[name])
    shop = Recommender.open()
    liked = ["i03", "i07", "i11"]
    picks = shop.recommend(liked=liked, k=ITEMS)
    assert len(picks) == ITEMS - 3 and not set(ids(picks)) & set(liked)
    assert shop.recommend(liked=["i11", "i07", "i03", "i07"], k=ITEMS) == picks
    told = shop.why(None, picks[0].item_id, liked=liked)
    assert [told.item.score] == near([picks[0].score], shop, None, liked)
    with torch.inference_mode():
        assert Recommender.open().why(None, picks[0].item_id, liked=liked) == told


@pytest.mark.parametrize("name", SYSTEMS)
def test_new_items(name: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained[name])
    shop = Recommender.open()
    rng = np.random.default_rng(0)
    new = [
        NewItem("new-1", {"text": rng.normal(size=6), "audio": rng.normal(size=6)}, "First"),
        NewItem("new-2", {"image": rng.normal(size=6)}),
    ]
    if name not in TAKERS:
        with pytest.raises(
            InputError, match=rf"{name} cannot take new items: .*; those that can are .*frozen"
        ):
            shop.with_items(new)
        return
    more = shop.with_items(new)
    assert len(more.items) == ITEMS + 2 and len(shop.items) == ITEMS
    picks = more.recommend("u04", ITEMS + 2)
    assert {"new-1", "new-2"} <= set(ids(picks))
    assert [i for i in ids(picks) if not i.startswith("new")] == ids(shop.recommend("u04", ITEMS))
    assert len(more.similar("new-2", ITEMS, "content")) == ITEMS - 3  # which lack an image
    if name == "blend":  # popularity, which ranks for who has no history, is no likeness
        assert more.similar("new-2", ITEMS) == []
    alike = ids(more.similar("i09", ITEMS + 2))
    if name == "contentknn":  # to which those are alike that have it among their nearest
        s = more.system.similarities()  # type: ignore[attr-defined]
        assert alike and {*alike} == {more.items[i] for i in s[9].indices}
    else:
        assert len(alike) == ITEMS + 1
    told = more.why("u04", "new-1")
    assert told.item.title == "First"
    if told.parts:
        assert sum(told.parts.values()) == pytest.approx(told.item.score, abs=1e-5)
    again = more.with_items([NewItem("new-3", {"text": rng.normal(size=6)})])
    assert again.score("u04", ["new-1", "new-2"]) == pytest.approx(
        more.score("u04", ["new-1", "new-2"]), abs=1e-5
    )
    with pytest.raises(InputError, match="items that came after training are not exported"):
        from pipeline.recommending.stored import export

        export(more, Path("nowhere"))
    assert not Path("nowhere").exists()


def test_a_folder_of_new_items_is_read_as_a_catalogue(tmp_path: Path) -> None:
    """Ids with blanks around them, features as .npy, rows that are not finite."""
    (tmp_path / "items.csv").write_text("item_id,title,text\nb,B,words\n a ,A,words\nc,,words\n")
    features = tmp_path / "features"
    features.mkdir()
    vectors = np.array([[1, 2], [3, 4], [np.nan, 0]], np.float32)
    np.save(features / "genres.npy", vectors)
    table = pa.table({"item_id": ["a", " b", "c"], "embedding": list(vectors)})
    pq.write_table(table, features / "text.parquet")
    made = {item.item_id: item for item in read_new_items(tmp_path)}
    assert {name: item.title for name, item in made.items()} == {"a": "A", "b": "B", "c": ""}
    assert {n: list(v) for n, v in made["a"].content.items()} == {"text": [1, 2], "genres": [3, 4]}
    assert {n: list(v) for n, v in made["b"].content.items()} == {"text": [3, 4], "genres": [1, 2]}
    assert not made["c"].content
    pq.write_table(pa.table({"item_id": ["z"], "embedding": [[1.0]]}), features / "text.parquet")
    with pytest.raises(InputError, match="item_id 'z' is not among the items"):
        read_new_items(tmp_path)
    (features / "text.parquet").rename(features / "text.pt")
    with pytest.raises(InputError, match=r"text.pt: features are .parquet or .npy files"):
        read_new_items(tmp_path)


def test_new_items_that_are_nothing_but_features(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\na\nb\n")
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/genres.npy", np.eye(2, dtype="f4"))
    made = read_new_items(tmp_path)
    assert [(item.item_id, list(item.content["genres"]), item.title) for item in made] == [
        ("a", [1, 0], ""), ("b", [0, 1], ""),
    ]  # fmt: skip


def test_many_users_take_no_more_memory_than_a_block(
    shop: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.recommending import asking

    whole = list(shop.ranked(k=5))
    monkeypatch.setitem(asking.CELLS, "cpu", 3 * ITEMS)
    blocks: Iterator[Any] = shop.ranked(k=5)
    assert len(next(blocks)[0]) == 3  # the first is there before the last was asked for
    parts = [*shop.ranked(k=5)]
    assert len(parts) == -(-USERS // 3)
    assert torch.equal(torch.cat([p[1] for p in parts]), torch.cat([p[1] for p in whole]))


def test_a_model_of_other_interactions_is_refused(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained["none"], folder)
    monkeypatch.chdir(folder)
    train_path = Path("data/prepared/train.parquet")
    table = pq.read_table(train_path)
    pq.write_table(table.slice(1), train_path)
    with pytest.raises(
        InputError, match="was trained on another train than there is now; run `dvc"
    ):
        Recommender.open()
    Path("data/models/recommender.safetensors").unlink()
    with pytest.raises(InputError, match="there is no trained model yet; run `dvc repro train`"):
        Recommender.open()


@pytest.mark.parametrize(("name", "reads"), [("frozen", True), ("vbpr", True), ("none", False)])
def test_a_model_of_other_content_is_refused(
    name: str, reads: bool, trained: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """It would score items by what they no longer hold; one that reads no content may be asked."""
    folder = tmp_path / "copy"
    shutil.copytree(trained[name], folder)
    monkeypatch.chdir(folder)
    path = Path("data/embeddings/text.parquet")
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, table.schema.field(1), table["embedding"][::-1]), path)
    if not reads:
        assert Recommender.open().recommend("u03")
        return
    with pytest.raises(InputError, match="was trained on another content than there is now"):
        Recommender.open()


@pytest.mark.parametrize("raw", [b"", b"\x05\0\0\0\0\0\0\0hello", 500, -9, "no metadata"])
def test_a_damaged_model_is_refused(raw: Any, shop: Recommender, tmp_path: Path) -> None:
    from safetensors.torch import save

    from pipeline.recommending.stored import export

    export(shop, tmp_path / "mine")
    file = tmp_path / "mine/models/recommender.safetensors"
    whole = file.read_bytes() if isinstance(raw, int) else b""
    bare = save({"users": torch.zeros(1)})
    file.write_bytes(whole[:raw] if whole else bare if isinstance(raw, str) else raw)
    with pytest.raises(InputError, match="not readable as a trained model"):
        Recommender.open(tmp_path / "mine")


@pytest.mark.parametrize("file", ["prepared/users", "prepared/train", "embeddings/text"])
def test_a_damaged_folder_is_refused(file: str, shop: Recommender, tmp_path: Path) -> None:
    from pipeline.recommending.stored import export

    export(shop, tmp_path / "mine")
    path = tmp_path / f"mine/{file}.parquet"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="absent or damaged: .*; make it again"):
        Recommender.open(tmp_path / "mine")
    path.unlink()
    with pytest.raises(InputError, match=f"absent or damaged: .*{file}"):
        Recommender.open(tmp_path / "mine")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no exported model"):
        Recommender.open(tmp_path)


def test_an_export_replaces_nothing(shop: Recommender, tmp_path: Path) -> None:
    from pipeline.recommending.stored import export

    export(shop, tmp_path / "mine")
    with pytest.raises(InputError, match="is there already"):
        export(shop, tmp_path / "mine")
    users, items = (
        pq.read_table(tmp_path / f"mine/embeddings-of-{s}.parquet") for s in ("users", "items")
    )
    u, i = (np.stack(t["embedding"].to_numpy()) for t in (users, items))
    best = shop.recommend("u05", 1)[0]
    row, column = (
        users["user_id"].to_pylist().index("u05"),
        items["item_id"].to_pylist().index(best.item_id),
    )
    assert [u[row] @ i[column]] == near([best.score], shop, "u05")
    assert json.loads(items.schema.metadata[b"recommender"])["system"] == "frozen"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of users, --all, --liked, --similar, --export is needed"),
        (["u01", "--all"], "one of users"),
        (["--liked", "i01", "--to", "x.parquet"], "--to takes the lists of users"),
        (["--similar", "i01", "--why", "--block", "i02"], "--why, --block would change nothing"),
        (["u01", "--by", "text"], "--by would change nothing here"),
        (["--all", "--to", "x.parquet", "--why"], "--why would change nothing here"),
        (["--export", "x", "--allow", "i01", "--hide", "all"], "--hide, --allow would change"),
        (["nobody"], "user 'nobody' is not there"),
        (["--liked", "i01,nix"], "item 'nix' is not there"),
        (["--all", "--model", "no-such-thing"], "no-such-thing"),
        (["--liked", 'i01,"nix, da"'], "item 'nix, da' is not there"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], message: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained["none"])
    monkeypatch.setattr(sys, "argv", ["recommend", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_stage(recommend.main)
    assert str(ended.value).startswith("error: ") and message in str(ended.value)


def test_items_may_be_named_one_by_one(
    shop: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--block", "--allow"):
        together = run("u01", option, "i03,i07,i05,i11", capsys=capsys)
        assert run("u01", option, "i03,i07", option, "i05,i11", capsys=capsys) == together
    assert run("u01", "--allow", "i05,i11", capsys=capsys) != together


def test_nothing_is_printed_before_an_error(
    shop: Recommender, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["recommend", "--similar", "i03", "--by", "taste"])
    with pytest.raises(InputError, match="by: 'taste' is not valid"):
        recommend.main()
    assert capsys.readouterr().out == ""


def test_the_command_says_why(shop: Recommender, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("--liked", "i03,i07", "-k", "2", "--why", capsys=capsys).splitlines()
    assert printed[0] == "somebody new, who liked i03; i07"
    assert len(printed) == 5 and "collaboration" in printed[2] and "liked: i0" in printed[2]
    assert (
        printed
        == run("--liked", "i03", "--liked", "i07", "-k", "2", "--why", capsys=capsys).splitlines()
    )
    like = run("--similar", "i03", "-k", "2", "--by", "text", capsys=capsys).splitlines()
    assert like[0] == "like i03, by text" and len(like) == 3


def test_an_index_finds_what_an_exact_search_does(shop: Recommender, tmp_path: Path) -> None:
    """The lists of so few items are all looked through."""
    pytest.importorskip("faiss")
    file = tmp_path / "items.index"
    for quick in (shop.indexed(file), shop.indexed(file), shop.indexed()):
        for user in ("u02", "u13"):
            assert ids(quick.recommend(user, 8)) == ids(shop.recommend(user, 8))
            assert ids(quick.recommend(user, 5, block=["i03"], hide="nothing")) == ids(
                shop.recommend(user, 5, block=["i03"], hide="nothing")
            )
        liked = shop.history("u05")
        assert ids(quick.recommend(liked=liked)) == ids(shop.recommend(liked=liked))
    with pytest.raises(InputError, match="of other items than the model's"):
        shop.with_items([NewItem("n", {"text": np.ones(6)})]).indexed(file)


def test_a_model_of_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tag had, out of DVC's cache, while the workspace has another model."""
    from dvc.repo import Repo

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True)

    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")
    monkeypatch.chdir(tmp_path)
    write_workspace(tmp_path)
    Path("data/prepared/features").mkdir()
    Path("data/prepared/features/modalities.json").write_text("[]")
    Path("data/prepared/manifests").mkdir()
    texts = pa.table({"item_id": ["i03"], "source": ["Whales  sing"], "sha256": [""]})
    pq.write_table(texts, "data/prepared/manifests/text.parquet")
    items = pq.read_table("data/prepared/items.parquet")
    pq.write_table(items.drop_columns("title"), "data/prepared/items.parquet")
    write_params(tmp_path, fusion="frozen")
    train.main()
    before = dict(Recommender.open().recommend_each(k=6))
    git("init", "-q", "-b", "main")
    with Repo.init(".") as repo:
        repo.add(["data"])
        git("add", "--all")
        git("commit", "-q", "-m", "frozen")
        git("tag", "first")
    write_params(tmp_path, fusion="popularity")
    train.main()
    old, new = Recommender.open("first"), Recommender.open()
    assert (old.description["system"], new.description["system"]) == ("frozen", "popularity")
    assert dict(old.recommend_each(k=6)) == before != dict(new.recommend_each(k=6))
    assert [old.title(item) for item in ("i03", "i04")] == ["Whales sing", "i04"]
    grown = old.with_items([NewItem("new", {"text": np.ones(6)})])
    assert "new" in ids(grown.recommend("u01", ITEMS + 1))
    with pytest.raises(
        InputError, match="third: no experiment, commit, branch or tag is called so"
    ):
        Recommender.open("third")


def test_nothing_is_like_what_nobody_has(
    trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed form knows nothing of an item without training interactions: no list of zeros."""
    folder = tmp_path / "copy"
    shutil.copytree(trained["itemknn"], folder)
    monkeypatch.chdir(folder)
    train_path = Path("data/prepared/train.parquet")
    table = pq.read_table(train_path)
    pq.write_table(table.filter(pc.not_equal(table["item"], 4)), train_path)
    train.main()
    shop = Recommender.open()
    assert shop.similar("i04") == shop.similar("i04", by="collaboration") == []
    assert all(pick.score > 0 for pick in shop.similar("i05", ITEMS))


@pytest.mark.parametrize("name", ["popularity", "random"])
def test_nothing_is_like_another_to_who_compares_no_items(
    name: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained[name])
    shop = Recommender.open()
    assert shop.similar("i05", ITEMS) == [] != shop.similar("i05", ITEMS, by="collaboration")


@pytest.mark.parametrize("option", ["--to", "--new"])
def test_addresses_where_only_paths_are_read_are_refused(
    option: str, shop: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        recommend.parsed(["u01", option, "s3://bucket/x"])
    assert f"{option}: s3://bucket/x: a path on this machine is needed" in capsys.readouterr().err


def test_ids_are_found_as_they_are_cleaned() -> None:
    """Blanks, invisible marks and Unicode's two ways to write é do not count."""
    known = Ids("item", pa.array(["caf\u00e9", "b"]))
    for wanted in ("caf\u00e9", "cafe\u0301", " caf\u00e9\u200b"):
        assert (
            wanted in known
            and known.row(wanted) == 0
            and with_part(known, wanted, 9) == ["caf\u00e9"]
        )
    assert "cafe" not in known and 7 not in known and "\udc80" not in known
    found = Finder(known, {0: "Re\u0301sume\u0301", 1: "other"})  # type: ignore[arg-type]
    assert found.find("r\u00e9sum\u00e9", 9) == ([0], 1) == found.find("cafe\u0301", 9)
