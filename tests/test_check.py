"""`python -m pipeline.check`: all that is wrong at once; what is there, and what it will cost."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloning import write_catalogue

from pipeline.catalogue.inspection import inspect
from pipeline.check import check
from pipeline.checking import costs
from pipeline.common.params import Params, Study, load

ROOT = Path(__file__).parents[1]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Small ones; the current directory is an empty one."""
    monkeypatch.chdir(tmp_path)
    loaded = load(ROOT / "params.yaml")
    study = Study(["none", "frozen", "ease", "popularity"], [0, 2], [1, 2, 3])
    return replace(loaded, train=replace(loaded.train, dimension=8), study=study, device="cpu")


def test_everything_wrong_is_said_with_file_row_and_mend(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = Path("shop")
    (raw / "features").mkdir(parents=True)
    (raw / "items.csv").write_text("item_id,Text,image\na,x,a.png\nb,y,A.png\na,z,../c.png\n")
    (raw / "interactions.csv").write_text(
        "user_id,item_id,timestamp,rating\nu,a,1,5\n,b,2,nan\nv,c,soon,3\n"
    )
    (raw / "a.png").write_bytes(b"a")
    np.save(raw / "features/audios.npy", np.ones((3, 2)))
    np.save(raw / "features/video.npy", np.ones((2, 2)))
    assert not check(raw, params)
    said = capsys.readouterr().out
    for part in (
        "items.csv: column 'Text': did you mean text?",
        "items.csv: row 2 and row 4: item_id 'a' stands in several rows",
        "interactions.csv: row 3: user_id is empty",
        "interactions.csv: row 4: item_id 'c' is not among the items",
        "interactions.csv: row 4: timestamp 'soon' is not valid",
        "interactions.csv: row 3: rating nan is not valid",
        "features: audios: did you mean audio?",
        "video.npy: 2 rows for 3 items",
    ):
        assert part in said
    assert len(re.findall(r"^wrong \d+: ", said, flags=re.M)) == 8
    assert "lost: shop/items.csv: row 3: image 'A.png': no such file; did you mean 'a.png'?" in said
    assert "to run it" not in said


@pytest.mark.parametrize("missing", ["items", "interactions", "shop"])
def test_a_table_that_is_missing(
    params: Params, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalogue(Path("shop"))
    if missing == "shop":
        Path("shop").rename("elsewhere")
    else:
        Path(f"shop/{missing}.csv").unlink()
    assert not check(Path("shop"), params)
    assert "is needed" in (said := capsys.readouterr().out) or "no such folder" in said


def test_what_is_there_and_what_it_costs(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalogue(Path("shop"))
    before = sorted(Path().rglob("*"))
    assert check(Path("shop"), params)
    said = capsys.readouterr().out
    assert "12 users, 30 items, 72 interactions (a user has 6 in the middle, 6 to 6)" in said
    assert "sparsity 80.00 %" in said
    assert "split: random by user: 0.2 validation, 0.3 test → 48 train, 12 validation" in said
    assert "text: 30 of 30 items (100 %)" in said and "image: 0 of 30 items (0 %)" in said
    assert re.search(r"text: 30 to encode by minilm: [\d.e-]+ s each, about \d+ s", said)
    # Three seeds at two depths, and the trained model, which is of another seed.
    assert re.search(r"frozen: 7 models to fit: [\d.e-]+ s an epoch, 200 at most, about", said)
    assert re.search(r"none: 6 models to fit: ", said)
    for closed in ("ease", "popularity"):
        assert re.search(rf"{closed}: 1 model to fit: [\d.e-]+ s, about", said)
    assert re.search(r"newcomers: 9 models to fit, about \d+ (s|min)", said)
    assert re.search(r"in all about .* on cpu with \d+ cores; about [\d.]+ GB of memory", said)
    assert sorted(Path().rglob("*")) == before  # the workspace stays as it is


def test_a_refit_costs_as_much_again(params: Params) -> None:
    write_catalogue(Path("shop"))
    study = Study(["popularity"], [2], [1])
    again = replace(params, study=study, fusion="popularity", protocol="refit")
    # It reads no seed: the study's model is the trained one.
    assert check_lines(again)[0].startswith("popularity: 1 model to fit, each twice: ")
    strict = check_lines(replace(again, protocol="validated"))
    assert strict[0].startswith("popularity: 1 model to fit: ")


def test_models_are_counted_that_are_nobody_elses(params: Params) -> None:
    """Without content `frozen` is `none`, if that is in the study; else it is fitted too."""
    write_catalogue(Path("shop"))
    for systems, models in (["frozen"], 4), (["frozen", "none"], 2):
        study = Study(systems, [0], [7, 8], controls=["no_content"])
        asked = replace(params, study=study, fusion="frozen", layers=0, seed=7)
        asked = replace(asked, newcomers=replace(asked.newcomers, items=0.0))
        with inspect(Path("shop"), params.prepare, Path("manifests")) as found:
            assert found.selection
            said = "\n".join(costs.costs(found.selection, Path("shop"), found.manifests, asked))
        assert f"\nfrozen: {models} models to fit: " in said
        assert "\nnewcomers: 0 models to fit" in said


def test_what_is_missing_of_a_split_is_told(
    params: Params, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.check.costs", lambda *_: ["nothing"])
    Path("shop").mkdir()
    Path("shop/items.csv").write_text("item_id\na\nb\n")
    Path("shop/interactions.csv").write_text("user_id,item_id,split,when\nu,a,0,x\nv,a,test,y\n")
    assert check(Path("shop"), params)
    said = capsys.readouterr().out
    assert "no validation interactions: nothing can be selected" in said
    assert "without training interactions: 1 items, 1 users" in said
    assert "no test" not in said
    assert "interactions.csv: columns that nothing uses: when" in said


def test_a_slow_system_is_not_waited_for(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    write_catalogue(Path("shop"))
    monkeypatch.setattr(costs, "LIMIT", 0.001)
    study = Study(["none"], [2], [1, 2])
    said = check_lines(replace(params, study=study, fusion="none", seed=1))
    assert any(
        re.search(r"none: 2 models to fit: more than 0.001 s an epoch, over", x) for x in said
    )


def check_lines(params: Params) -> list[str]:
    """What costs are said of the catalogue `shop`, without its texts."""
    with inspect(Path("shop"), params.prepare, Path("manifests")) as found:
        assert found.selection
        return list(costs.costs(found.selection, Path("shop"), {}, params))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: np.save(f / "genres.npy", np.full((30, 2), np.nan)),
         "genres: 30 of 30 items are of no use, more than prepare.max_failures: 0.5 allows"),
        (lambda f: np.save(f / "text.npy", np.full((30, 2), np.inf)),
         "text: 30 of 30 items are of no use, more than encode.text.max_failures: 0.5 allows"),
        (lambda f: pq.write_table(
            pa.table({"item_id": ["i00"], "embedding": pa.array([None], pa.list_(pa.float32()))}),
            f / "tags.parquet"), "embeddings of lengths []"),
        (lambda f: pq.write_table(pa.table({"item_id": ["i00", "i01"],
                                            "embedding": [[1.0], [1.0, 2.0]]}), f / "tags.parquet"),
         "embeddings of lengths [1, 2]"),
        (lambda f: (np.save(f / "a1.npy", np.ones((3, 1))), np.save(f / "b1.npy", np.ones((4, 1)))),
         "b1.npy: 4 rows for 30 items"),
    ],
)  # fmt: skip
def test_features_that_the_pipeline_would_refuse(
    params: Params, capsys: pytest.CaptureFixture[str], make: Callable[[Path], object], message: str
) -> None:
    write_catalogue(Path("shop"))
    Path("shop/features").mkdir()
    make(Path("shop/features"))
    assert not check(Path("shop"), params)
    assert message in capsys.readouterr().out


def test_media_of_which_too_many_are_missing(
    params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalogue(Path("shop"))
    rows = [line + ",x.png" for line in Path("shop/items.csv").read_text().splitlines()[1:]]
    Path("shop/items.csv").write_text("\n".join(["item_id,text,image", *rows]) + "\n")
    assert not check(Path("shop"), params)
    said = capsys.readouterr().out
    assert "image: 30 of 30 items are of no use, more than encode.image.max_failures: 0.5" in said
    assert "lost: 20 more files of image" in said
