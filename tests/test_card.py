"""The model card, and the page of what fitting took."""

import csv
import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from studies import WEIGHTS, Model, model, selected, without

from pipeline.common import paths
from pipeline.experiments.results import write_rows

pytestmark = pytest.mark.usefixtures("undrawn")
Make = Callable[..., Path]
SEEDS = (1, 2)


def models() -> list[Model]:
    """Two systems, one of them without depth and seed."""
    found = [model(s, k, seed) for s in ("none", "frozen") for k in (0, 2) for seed in SEEDS]
    return [*found, model("ease", None, None)]


def card(folder: Path) -> str:
    return (folder / "model-card.md").read_text()


def test_metrics_are_the_users_means_with_their_intervals(make: Make) -> None:
    trained = model("frozen", 2, 1)
    text = card(make(models(), trained=trained))
    rows = pq.read_table(paths.TRAINED_USERS).to_pylist()
    number = r"(−?\d\.\d{4})"
    found = re.findall(
        rf"^\| (\w+) \| (\w+)@10 \| {number} \[{number}, {number}\] \| (\d+) \|$", text, re.M
    )
    assert [row[:2] for row in found] == [
        ("test", "Precision"), ("test", "Recall"), ("test", "NDCG"), ("validation", "NDCG"),
    ]  # fmt: skip
    for split, metric, *numbers, users in found:
        values = np.array([r[f"{metric.lower()}@10"] for r in rows if r["split"] == split])
        mean, low, high = (float(n.replace("−", "-")) for n in numbers)
        assert int(users) == len(values)
        assert mean == pytest.approx(values.mean(), abs=1e-4)
        interval = stats.bootstrap(
            (values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1)
        ).confidence_interval
        width = interval.high - interval.low
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.08 * width)


def test_what_the_model_is_and_was_made_from(make: Make) -> None:
    text = card(make(models(), trained=model("frozen", 2, 1, best_epoch=17)))
    assert text.startswith("# Model card: `frozen`, K = 2\n")
    assert "K = 2, seed 1, best epoch 17. It reads text, image." in text
    assert f"sha256 `{hashlib.sha256(paths.MODEL.read_bytes()).hexdigest()}`" in text
    assert "60 items to 48 users" in text and "272 train" in text
    assert "| train.layer_weights | [] |" in text and "| aggregate | mean |" in text
    assert "encoders of image, audio have random weights" in text and "synthetic" in text
    pretrained = dict.fromkeys(WEIGHTS, "pretrained")
    text = card(make(models(), weights=pretrained, synthetic=False))
    assert "random weights" not in text and "synthetic" not in text


def test_the_card_says_no_more_than_was_done(make: Make) -> None:
    text = card(make(models()))
    assert "The epoch was selected on validation. System, depth and other parameters" in text
    assert "Nothing was selected" not in text
    # That popular items are shown more is a result, to be read, and not a rule.
    assert "served worse" not in text and "`tables/slices-users.csv`" in text
    assert "of this one model" in text
    assert "refit" not in text and "at most" not in text
    text = card(make(without(models(), "validation")))
    assert "Nothing was selected: it is the state after the last epoch." in text
    assert "selected on validation" not in text


def test_a_model_without_depth_or_seed(make: Make) -> None:
    text = card(make(models(), trained=model("ease", None, None)))
    assert text.startswith("# Model card: `ease`\n")
    assert "K =" not in text and "None" not in text and ", seed" not in text
    assert "epoch" not in text  # there was none
    assert "Nothing was selected: it follows from the training interactions." in text
    text = card(make(models(), trained=model("ease", None, None), protocol="refit"))
    assert "was fitted once more, on training and validation interactions together" in text


def test_a_blend_is_what_validation_made_of_it(make: Make) -> None:
    """Its parameters are those of params.yaml in part alone, and it has no epochs of its own."""
    found = [*models(), *(model("blend", 2, seed) for seed in SEEDS)]
    text = card(make(found, trained=found[-1]))
    assert "best epoch" not in text and "The epoch was selected" not in text
    assert "Its parts and their parameters were selected on validation." in text
    assert "| ease.strength | 8 |\n| ease.weight | 1 |\n" in text
    assert "**Its parts, and their parameters, which validation selected**" in text
    found = without(found, "validation")
    text = card(make(found, trained=found[-1]))
    assert "Nothing was selected: its parts have the parameters that a search would" in text
    assert "which validation selected" not in text


def test_a_hostile_name_of_a_catalogue_is_shown_as_it_stands(make: Make) -> None:
    name = "data/<b>&|*x*"
    assert f"trained on `{name}`" in card(make(models(), dataset=name))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_is_not_there_has_no_metrics(split: str, make: Make) -> None:
    found = [replace(m, values={s: v for s, v in m.values.items() if s != split}) for m in models()]
    text = card(make(found))
    assert f"\n| {split} |" not in text and "NDCG@10" in text


def timed(system: str, seconds: float, seeds: tuple[int, int] = SEEDS) -> None:
    """As a study leaves it: seconds by seed, at both depths, of itself and under a control."""
    paths.TIMES.mkdir(parents=True, exist_ok=True)
    depths: list[int | None] = [None] if system == "ease" else [0, 2]
    rows = [
        {"system": system, "control": control, "layers": k, "seed": None if k is None else seed,
         "seconds": seconds * seed, "megabytes": 100.25 * seed, "epochs": 9 + seed}
        | {"device": "cpu"}
        for control in (None, "placebo")
        for k in depths
        for seed in (seeds if k is not None else (1,))
    ]  # fmt: skip
    write_rows(paths.times_path(system), rows, ("system",))


def test_what_fitting_took_has_a_page_of_its_own(make: Make) -> None:
    folder = make(models())
    assert not (folder / "times.html").exists()
    plain = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for system in ("none", "frozen"):
        timed(system, 7.25)
    make(models())
    assert {*times(folder)} == {"none", "frozen"}  # nothing is known of the other
    timed("ease", 3.5)
    make(models())
    rows = times(folder)
    assert {*rows} == {"none", "frozen", "ease"}
    (depth,) = {r["layers"] for r in read(folder, "comparison-ndcg") if r["system"] == "frozen"}
    ndcg = {r["system"]: float(r["ndcg@10"]) for r in read(folder, "comparison-ndcg")}
    # At the selected depth two seeds: (7.25 + 14.5) / 2; all: that of two depths.
    shown = {
        "system": "frozen", "layers": depth, "models": "2", "seconds": "10.9", "epochs": "10.5",
        "MB": "200.5", "device": "cpu", "models, all": "4", "seconds, all": "43.5",
    }  # fmt: skip
    assert rows["frozen"].pop("NDCG@10").startswith(f"{ndcg['frozen']:.4f}")
    assert rows["frozen"] == shown
    shown |= {"system": "ease", "layers": "–", "models": "1", "seconds": "3.5", "epochs": "10.0"}
    shown |= {"MB": "100.2", "models, all": "1", "seconds, all": "3.5"}
    assert rows["ease"].pop("NDCG@10") == f"{ndcg['ease']:.4f}"
    assert rows["ease"] == shown
    now = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "times.html"}
    assert now == plain  # nothing else changes with times
    shutil.rmtree(paths.TIMES)
    make(models())
    assert {p: p.read_bytes() for p in plain} == plain


def test_times_are_of_the_models_that_are_in_the_study(make: Make) -> None:
    """Those of an earlier study, of other seeds and controls, may still lie there."""
    found = models()
    controls = [model("frozen", selected(found, "frozen"), 2, "placebo")]
    for system in ("none", "frozen"):
        timed(system, 7.25)
    rows = times(make([*found, *controls]))
    # One placebo, at the selected depth: two depths of two seeds, and twice 7.25 seconds.
    assert (rows["frozen"]["models, all"], rows["frozen"]["seconds, all"]) == ("5", "58.0")
    assert (rows["none"]["models, all"], rows["none"]["seconds, all"]) == ("4", "43.5")
    timed("none", 7.25, seeds=(7, 8))  # nobody has these
    assert {*times(make([*found, *controls]))} == {"frozen"}


def read(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"tables/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def times(folder: Path) -> dict[str, dict[str, str]]:
    """System → the cells of the page's row by their headings."""
    page = (folder / "times.html").read_text()
    headings, *rows = (
        [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.S)
    )
    return {row[0]: dict(zip(headings, row, strict=True)) for row in rows}


def test_the_card_tells_the_refit_from_what_was_selected(make: Make) -> None:
    splits = ("validation", "test", "refit")
    trained = model("frozen", 2, 1, splits=splits, best_epoch=17)
    text = card(make(models(), trained=trained, protocol="refit"))
    assert "K = 2, seed 1, best epoch 17. It reads" in text
    assert "of this one model (refit) and of the fit that validation selected" in text
    assert "refit is test, of this model; the other rows are of the fit that was selected" in text
    assert re.findall(r"^\| (\w+) \| NDCG@10", text, re.M) == ["test", "validation", "refit"]
    assert "at most 1 items are such" in text and "| protocol | refit |" in text
