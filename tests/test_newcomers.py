"""Items and users that come after a system was fitted: held out, judged, written, reported."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ruamel.yaml import YAML
from scipy.stats import mannwhitneyu
from small import ITEMS, USERS, splits, write_catalogue, write_workspace

from model.dataset import Modality
from model.experiment import system_class
from model.interactions import Interactions
from model.newcomers import Judged, areas, auc, nearest_content, overlap
from pipeline import newcomers
from pipeline.catalogue.part import Part, drawn
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.params import Params, load
from pipeline.experiments.experiment import Experiment
from pipeline.experiments.newcomers import HeldOut

REPOSITORY = Path(__file__).parents[1]
SYSTEMS = ["popularity", "frozen", "ease"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The parameters of a small prepared workspace, the current folder."""
    monkeypatch.chdir(tmp_path)
    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    params["train"] |= {"dimension": 8, "epochs": 3}
    params["systems"]["ease"]["content_weight"] = 1.0
    params["newcomers"] = {"systems": SYSTEMS, "items": 0.3, "users": 0.25, "seed": 3}
    yaml.dump(params, Path("params.yaml"))
    write_workspace(tmp_path)
    return load()


def test_auc_is_the_chance_that_a_liked_item_is_above_another() -> None:
    scores = torch.tensor([[3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 2.0, 1.0]])
    liked = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]]).bool()
    # 2 of 4 pairs; all tied; 0 > 2, 0 > 1 wrong, 2 > 2 half, 2 > 1 right.
    assert auc(scores, liked).tolist() == [0.5, 0.5, 1.5 / 4]


def test_auc_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    scores, liked = rng.integers(0, 9, (5, 40)), rng.random((5, 40)) < 0.3
    scores[:, :5] = -99
    given = torch.from_numpy(scores).float()
    given[given == -99] = -torch.inf  # what may not be shown ties with its like
    for row, mine, found in zip(scores, liked, auc(given, torch.from_numpy(liked)), strict=True):
        u = mannwhitneyu(row[mine], row[~mine]).statistic
        assert float(found) == pytest.approx(u / (mine.sum() * (~mine).sum()), abs=1e-12)


def test_areas_are_of_users_who_like_some_of_the_new_but_not_all() -> None:
    liked = Interactions.of(
        torch.tensor([0, 1, 2, 2, 2, 3]), torch.tensor([3, 0, 2, 3, 4, 4]), 4, 5
    )
    scores = torch.tensor([[9.0, 9, 1, 2, 3], [0] * 5, [0] * 5, [0, 0, 1, 2, 3]])
    nobody = areas(lambda u: scores[u], liked, liked.n_items - 1)  # one item: all or nothing
    assert [len(part) for part in nobody] == [0, 0]
    users, found = areas(lambda u: scores[u], liked, 2)
    assert users.tolist() == [0, 3]
    assert found.tolist() == [0.5, 1.0]


def test_lists_share_what_stands_in_both() -> None:
    lists = torch.tensor([[1, 2, 3, 4], [5, -1, -1, -1]])
    others = torch.tensor([[4, 9, 1, 8], [-1, -1, -1, -1]])
    assert overlap(lists, others).tolist() == [0.5, 0.0]
    judged = Judged(torch.arange(2), torch.zeros(2), lists)
    assert judged.share(3).tolist() == [0.5, 1.0]


def test_nearest_content_is_the_mean_cosine_to_what_a_user_liked() -> None:
    rng = np.random.default_rng(1)
    vectors = torch.from_numpy(rng.normal(size=(9, 4))).float()
    present = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0, 1]).bool()
    vectors[~present] = 0
    old = Modality("text", vectors[:6], present[:6])
    new = Modality("text", vectors[6:], present[6:])
    histories = Interactions.of(torch.tensor([0, 0, 0, 2]), torch.tensor([0, 2, 4, 5]), 3, 6)
    found = nearest_content(histories, [old], [new])(torch.arange(3)).double().numpy()
    x = vectors.double().numpy() - vectors[:6][present[:6]].double().mean(0).numpy()
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[~present.numpy()] = 0
    want = [(x[[0, 2, 4]] @ x.T).mean(0), np.zeros(9), x[5] @ x.T]
    np.testing.assert_allclose(found, want, atol=1e-6)


def test_what_is_drawn_is_a_share_of_the_candidates() -> None:
    candidates = np.arange(50) % 5 > 0
    chosen = drawn(candidates, 0.29, 1)
    assert chosen.sum() == int(40 * 0.29) and (candidates | ~chosen).all()
    assert (chosen == drawn(candidates, 0.29, 1)).all()
    assert (chosen != drawn(candidates, 0.29, 2)).any()
    assert drawn(np.arange(100) >= 0, 0.29, 1).sum() == 29
    assert not drawn(candidates, 0.0, 1).any()


def pairs(x: Interactions) -> set[tuple[int, int]]:
    return set(zip(x.users.tolist(), x.items.tolist(), strict=True))


def test_a_part_is_the_workspace_as_if_the_rest_had_never_been(project: Params) -> None:
    whole, given = Workspace(), splits()
    items, users = np.arange(ITEMS) % 3 > 0, np.arange(USERS) % 4 > 0
    part = Part(whole, items=items, users=users)
    kept_items, kept_users = np.flatnonzero(items).tolist(), np.flatnonzero(users).tolist()
    dataset = part.dataset
    found = (dataset.catalogue.train, dataset.validation, dataset.test)
    for name, split in zip(paths.SPLITS, found, strict=True):
        assert (split.n_users, split.n_items) == (part.n_users, 20) == (15, 20)
        assert {(kept_users[u], kept_items[i]) for u, i in pairs(split)} == {
            (u, i) for u, i in pairs(given[name]) if items[i] and users[u]
        }
    assert part.item_ids.to_pylist() == [whole.item_ids[i].as_py() for i in kept_items]
    for mine, of_all in zip(
        dataset.catalogue.modalities, whole.dataset.catalogue.modalities, strict=True
    ):
        assert mine.name == of_all.name
        assert torch.equal(mine.vectors, of_all.vectors[torch.from_numpy(items)])


def test_parts_are_fitted_apart_by_what_is_left(project: Params) -> None:
    whole = Workspace()
    experiment = Experiment.of(project, "frozen", 2, 1)

    def print_(**kept: np.ndarray) -> str:
        return experiment.fingerprint(Part(Workspace(), **kept))

    items, users = np.arange(ITEMS) > 2, np.arange(USERS) > 2
    prints = {print_(), print_(items=items), print_(users=users), experiment.fingerprint(whole)}
    assert len(prints) == 4
    assert print_(items=items) == print_(items=items.copy())
    # Without any interactions, another item makes other content.
    empty = Interactions.of(torch.tensor([0]), torch.tensor([0]), 2, 4)
    vectors = dict.fromkeys(("text", "image", "audio", "video"), np.eye(4, dtype=np.float32))
    folder = Path("other")
    write_catalogue(folder, dict.fromkeys(paths.SPLITS, empty), vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert print_(items=np.array([1, 1, 1, 0]) > 0) != print_(items=np.array([1, 0, 1, 1]) > 0)


def test_who_is_held_out_can_be_judged(project: Params) -> None:
    held = HeldOut(Workspace(), project)
    given = splits()
    had = {i for split in given.values() for _, i in pairs(split)}
    both = {u for u, _ in pairs(given["train"])} & {u for u, _ in pairs(given["test"])}
    assert set(np.flatnonzero(held.items)) <= had and held.items.sum() == int(0.3 * len(had))
    assert set(np.flatnonzero(held.users)) <= both and held.users.sum() == int(len(both) / 4)
    train, _, test = held.histories()
    assert pairs(train) and {np.flatnonzero(held.users)[u] for u, _ in pairs(test)} == set(
        np.flatnonzero(held.users)
    )


def test_new_items_stand_after_the_others(project: Params) -> None:
    held = HeldOut(Workspace(), project)
    first = int((~held.items).sum())
    order = [*np.flatnonzero(~held.items), *np.flatnonzero(held.items)]
    moved = held.items_last()
    assert {(u, order[i]) for u, i in pairs(moved.test)} == pairs(splits()["test"])
    assert moved.catalogue.train.of_first(first).items.tolist() == (
        held.without_items.dataset.catalogue.train.items.tolist()
    )
    text = Workspace().dataset.catalogue.modalities[0]
    assert torch.equal(held.content()[0].vectors, text.vectors[torch.from_numpy(held.items)])


def test_the_stage_judges_everyone_and_fits_once(
    project: Params, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    newcomers.main()
    items, users = (pq.read_table(path) for path in (paths.NEW_ITEMS, paths.NEW_USERS))
    held = HeldOut(Workspace(), project)
    assert list(dict.fromkeys(items["system"].to_pylist())) == [*SYSTEMS, newcomers.CONTENT]
    rows = [row for row in items.to_pylist() if row["system"] == "popularity"]
    tested = {u for u, _ in pairs(splits()["test"])}
    assert {row["user"] for row in rows if row["ndcg@10"] is not None} == tested
    assert all(row["auc"] in (0.5, None) and row["share"] in (0, None) for row in rows)
    assert any(row["share"] for row in items.to_pylist() if row["system"] == "ease")
    new = np.flatnonzero(held.users).tolist()
    for system in SYSTEMS:
        of_system = [row for row in users.to_pylist() if row["system"] == system]
        assert [row["user"] for row in of_system] == new
    popular = [row for row in users.to_pylist() if row["system"] == "popularity"]
    assert all(0 <= row["overlap"] <= 1 and 0 <= row["folded"] <= 1 for row in popular)
    with (paths.NEWCOMERS / "means.csv").open(newline="") as file:
        means = {(r["newcomers"], r["system"], r["measure"]): r for r in csv.DictReader(file)}
    mine = [row["folded"] for row in users.to_pylist() if row["system"] == "ease"]
    assert float(means["users", "ease", "folded"]["mean"]) == pytest.approx(np.mean(mine))
    assert means["items", "popularity", "auc"]["mean"] == "0.5"
    kept = {path: path.stat().st_mtime_ns for path in Path(".cache/cells").glob("*.safetensors")}
    assert len(kept) == 3 * len(SYSTEMS)
    before = [path.read_bytes() for path in sorted(paths.NEWCOMERS.iterdir())]
    newcomers.main()
    assert kept == {p: p.stat().st_mtime_ns for p in Path(".cache/cells").glob("*.safetensors")}
    assert before == [path.read_bytes() for path in sorted(paths.NEWCOMERS.iterdir())]


def test_a_refit_is_no_matter_of_newcomers(project: Params) -> None:
    newcomers.main()
    before = [path.read_bytes() for path in sorted(paths.NEWCOMERS.iterdir())]
    cells = sorted(Path(".cache/cells").iterdir())
    text = Path("params.yaml").read_text()
    assert "protocol: validated" in text
    Path("params.yaml").write_text(text.replace("protocol: validated", "protocol: refit"))
    newcomers.main()
    assert before == [path.read_bytes() for path in sorted(paths.NEWCOMERS.iterdir())]
    assert cells == sorted(Path(".cache/cells").iterdir())


def test_what_is_fitted_is_not_pruned(project: Params) -> None:
    from pipeline.experiments.kept import prune

    newcomers.main()
    kept = {path.name for path in Path(".cache/cells").iterdir()}
    prune()
    assert {path.name for path in Path(".cache/cells").iterdir()} == kept


def test_too_few_to_hold_any_out_make_empty_tables(
    project: Params, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    text = Path("params.yaml").read_text()
    text = text.replace("items: 0.3", "items: 0.01").replace("users: 0.25", "users: 0.01")
    Path("params.yaml").write_text(text)
    newcomers.main()
    assert "held out: 0 items, 0 users" in caplog.text and "too few" in caplog.text
    for path, schema in ((paths.NEW_ITEMS, newcomers.ITEMS), (paths.NEW_USERS, newcomers.USERS)):
        table = pq.read_table(path)
        assert len(table) == 0 and table.schema.equals(schema)
    assert not Path(".cache/cells").exists()


def test_a_system_that_takes_no_newcomers_costs_the_others_nothing(
    project: Params, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that gives `scorer` alone, as an extension may."""
    caplog.set_level("INFO")
    monkeypatch.delattr(system_class("popularity"), "folding")
    monkeypatch.setattr(
        system_class("popularity"),
        "scorer",
        lambda self: lambda users: self.fitted["counts"].repeat(len(users), 1),
    )
    newcomers.main()
    assert "popularity takes no new users: it knows only the users" in caplog.text
    systems = set(pq.read_table(paths.NEW_USERS)["system"].to_pylist())
    assert systems == set(SYSTEMS) - {"popularity"}
