"""The stages under `protocol: refit`: files, and a trained model that is the refitted one."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small import ITEMS, USERS, splits, write_workspace
from test_recommender import evaluated, ids, write_params

from pipeline import study, train
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.params import load
from pipeline.experiments.cells import cell_of
from pipeline.experiments.experiment import NO_REFIT, Experiment
from pipeline.recommending import NewItem, Recommender
from pipeline.recommending.stored import export
from pipeline.recommending.studied import studied


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared workspace, and the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)


def trained(system: str, protocol: str = "refit", **changes: Any) -> None:
    write_params(Path.cwd(), fusion=system, protocol=protocol, device="cpu", **changes)
    train.main()


def results() -> dict[str, list[dict[str, str]]]:
    """Split → the rows of results.csv."""
    found: dict[str, list[dict[str, str]]] = {}
    with paths.RESULTS.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["split"], []).append(row)
    return found


def test_what_train_writes() -> None:
    trained("none", "validated")
    strict, history = results(), paths.HISTORY.read_bytes()
    numbers = json.loads(paths.METRICS.read_text())["small"]
    assert numbers.keys() == {"test", "validation"}
    rows = pq.read_table(paths.TRAINED_USERS).to_pylist()
    trained("none")
    both = results()
    refit = both.pop("refit")
    assert both == strict and paths.HISTORY.read_bytes() == history
    again = json.loads(paths.METRICS.read_text())["small"]
    values = {f"{row['metric']}@{row['k']}": float(row["value"]) for row in refit}
    for name in ("ndcg@10", "recall@10", "precision@10"):
        assert again["refit"][name] == pytest.approx(values[name], abs=1e-6)
    assert again["refit"].keys() == {"ndcg@10", "recall@10", "precision@10"}
    assert {split: of for split, of in again.items() if split != "refit"} == numbers
    everyone = pq.read_table(paths.TRAINED_USERS).to_pylist()
    assert [row for row in everyone if row["split"] != "refit"] == rows
    mine = [row["ndcg@10"] for row in everyone if row["split"] == "refit"]
    assert np.mean(mine) == pytest.approx(values["ndcg@10"])


@pytest.mark.parametrize("system", ["popularity", "itemknn", "ease", "ials", "frozen", "lattice"])
def test_the_trained_model_is_the_refitted_one(system: str, tmp_path: Path) -> None:
    trained(system)
    shop, refit, strict = Recommender.open(), evaluated("refit"), evaluated("test")
    assert refit != strict
    assert shop.description["parameters"]["protocol"] == "refit"
    for user, items in refit.items():
        assert ids(shop.recommend(user, ITEMS)) == items
        assert not {*items} & {*shop.history(user, "train", "validation")}
    # As a folder, and folding in what it knows of a user.
    export(shop, tmp_path / "mine")
    assert dict(Recommender.open(tmp_path / "mine").recommend_each()) == dict(shop.recommend_each())
    if system in ("popularity", "itemknn", "ease"):
        liked = shop.history("u04")
        told, as_new = shop.recommend("u04", ITEMS), shop.recommend(liked=liked, k=ITEMS)
        assert ids(told) == ids(as_new)


@pytest.mark.parametrize("system", ["itemknn", "ease"])
def test_why_is_told_by_all_that_it_was_fitted_on(system: str) -> None:
    trained(system)
    shop = Recommender.open()
    item = shop.recommend("u04")[0]
    told = shop.why("u04", item.item_id, most=ITEMS)
    assert {one.item_id for one in told.liked} == set(shop.history("u04", "train", "validation"))
    assert sum(one.score for one in told.liked) == pytest.approx(item.score, abs=1e-5)


def test_items_that_the_model_knows_together_are_alike() -> None:
    trained("frozen")
    parts = splits()
    x = (parts["train"] | parts["validation"]).block(0, USERS).double()
    norms = x.norm(dim=0).clamp(min=1)
    cosines = x.T @ x / norms / norms[:, None]
    for pick in Recommender.open().similar("i09", 5, by="collaboration"):
        assert pick.score == pytest.approx(float(cosines[9, int(pick.item_id[1:])]), abs=1e-6)


def test_items_without_training_interactions_may_have_validation_ones() -> None:
    """`train.cold_items: new` takes for new what the refit has not seen either."""
    trained("frozen", **{"train.cold_items": "new"})
    shop = Recommender.open()
    lists = dict(shop.recommend_each(k=ITEMS))
    assert {user: ids(lists[user]) for user in evaluated("refit")} == evaluated("refit")
    new = NewItem("n", {"text": np.ones(6)})
    assert len(shop.with_items([new]).recommend("u04", ITEMS + 1, hide="nothing")) == ITEMS + 1


def test_the_file_holds_the_refitted_state() -> None:
    trained("none")
    params = load()
    cell = cell_of(Experiment.of(params, "none", params.layers, params.seed), Workspace())
    saved, state = load_file(paths.MODEL), load_file(cell.path)
    assert torch.equal(saved["user_embedding"], state["user_embedding"])
    strict = load_file(cell_of(cell.experiment.strict, Workspace()).path)
    assert not torch.equal(saved["user_embedding"], strict["user_embedding"])


def studies(systems: list[str], protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(
        Path.cwd(), protocol=protocol, device="cpu",
        **{"study.systems": systems, "study.layers": [0, 1], "study.seeds": [1, 2],
           "study.processes": 1, "study.controls": ["placebo", "no_content"]},
    )  # fmt: skip
    for system in systems:
        monkeypatch.setattr(sys, "argv", ["study", system])
        study.main()


def test_a_study_has_both_and_selects_on_the_strict_part(monkeypatch: pytest.MonkeyPatch) -> None:
    systems = ["frozen", "ease"]
    written = {}
    for protocol in ("validated", "refit"):
        studies(systems, protocol, monkeypatch)
        for system in systems:
            for file in ("models.csv", "history.csv"):
                path = paths.STUDY / system / file
                assert written.setdefault((system, file), path.read_bytes()) == path.read_bytes()
    for system in systems:
        for file in ("users", "lists"):
            table = pq.read_table(paths.STUDY / system / f"{file}.parquet")
            models = {
                split: {(r["control"], r["layers"], r["seed"]) for r in table.to_pylist()
                        if r["split"] == split}
                for split in ("validation", "test", "refit")
            }  # fmt: skip
            assert models["refit"] == models["test"] == models["validation"]
    frozen = pq.read_table(paths.STUDY / "frozen/users.parquet").to_pylist()
    controls = {row["control"] for row in frozen if row["split"] == "refit"}
    assert controls == {None, "placebo", "no_content"}
    # Asked for what is kept, it is the refitted one.
    shop = studied(load(), "ease", Workspace())
    assert shop.description["parameters"]["protocol"] == "refit"
    lists = pq.read_table(paths.STUDY / "ease/lists.parquet").to_pylist()
    for row in lists:
        if (row["split"], row["control"]) == ("refit", None):
            expected = [f"i{item:02}" for item in row["items"]]
            assert ids(shop.recommend(f"u{row['user']:02}", ITEMS)) == expected


def test_without_validation_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    table = pq.read_table(paths.split_path("validation"))
    pq.write_table(table.slice(0, 0), paths.split_path("validation"))
    with caplog.at_level("INFO"):
        trained("popularity")
    assert NO_REFIT in caplog.text
    assert results().keys() == {"test"}
    saved = paths.MODEL.read_bytes()
    caplog.clear()
    trained("popularity", "validated")
    assert NO_REFIT not in caplog.text and paths.MODEL.read_bytes() == saved
