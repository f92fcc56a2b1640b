"""Every table of the report, recomputed from every user's values and lists by other means."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import undraw
from numpy.typing import NDArray
from scipy import stats
from studies import ITEMS, USERS, Model, model, selected, write_workspace

from pipeline import report
from pipeline.reporting import published

LAYERS, SEEDS, KS = [0, 2], [1, 2, 3], [5, 10, 20, 50]
DEEP = ["none", "frozen", "alpha", "unfrozen"]
SYSTEMS = ["ease", *DEEP, "lattice"]
CONTROLS = ["placebo", "no_content", "unit_length"]
CONTROLLED = [control.replace("_", "-") for control in CONTROLS]
ACCURACY = ["precision", "recall", "ndcg", "hit_rate", "mrr", "map"]
BEYOND = ["coverage", "novelty", "gini", "popularity"]
Floats = NDArray[np.float64]


def models() -> list[Model]:
    """Systems with depths, one without, one without depth and seed; controls; one that is cut."""
    rest: list[dict[str, Any]] = [{"best_epoch": 1 + seed, "limited": False} for seed in range(4)]
    found = [model("ease", None, None)]
    found += [
        model(s, k, seed, limited=(s, seed) == ("unfrozen", 2), best_epoch=k + seed)
        for s in DEEP for k in LAYERS for seed in SEEDS
    ]  # fmt: skip
    found += [model("lattice", None, seed, **rest[seed]) for seed in SEEDS]
    kept = {s: selected(found, s) for s in SYSTEMS}
    found += [
        model(s, kept[s], seed, control, limited=(s, control, seed) == ("frozen", "placebo", 3))
        for s in ("frozen", "alpha", "lattice")
        for control in CONTROLS
        for seed in SEEDS
        if (s, control) != ("lattice", "unit_length")
    ]
    return sorted(found, key=lambda m: SYSTEMS.index(m.system))


STUDY = models()
SELECTED = {system: selected(STUDY, system) for system in SYSTEMS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The workspace and its report; everything below is read from its files."""
    path = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        undraw(patch)
        write_workspace(path, STUDY, users=5660, items=4878)  # the size of DbBook
        report.main()
        yield path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(folder: Path, name: str) -> list[dict[str, str]]:
    return read(folder / f"reports/tables/{name}.csv")


@cache
def parquet(path: Path) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The rows of a system's file by control, depth and split; users in order within a seed."""
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault((row["control"], row["layers"], row["split"]), []).append(row)
    for rows in found.values():
        rows.sort(key=lambda row: (row["seed"] or 0, row["user"]))
    return found


def rows_of(
    folder: Path,
    name: str,
    *,
    system: str,
    layers: int | None,
    control: str | None = None,
    split: str = "test",
) -> list[dict[str, Any]]:
    """A system's rows of `users` or `lists`."""
    path = folder / f"data/study/{system}/{name}.parquet"
    return parquet(path).get((control, layers, split), [])


def per_seed(folder: Path, measure: str = "ndcg@10", **key: Any) -> dict[int | None, Floats]:
    """Seed → the users' values."""
    found: dict[int | None, list[float]] = {}
    for row in rows_of(folder, "users", **key):
        found.setdefault(row["seed"], []).append(row[measure])
    return {seed: np.array(values) for seed, values in found.items()}


def per_user(folder: Path, measure: str = "ndcg@10", **key: Any) -> Floats:
    """The users' means over seeds."""
    return np.mean(list(per_seed(folder, measure, **key).values()), axis=0)


def judged(folder: Path) -> list[int]:
    return [row["user"] for row in rows_of(folder, "users", system="ease", layers=None)]


def pairs(folder: Path, split: str) -> list[tuple[int, int]]:
    return [
        (row["user"], row["item"])
        for row in pq.read_table(folder / f"data/prepared/{split}.parquet").to_pylist()
    ]


def depth(text: str) -> int | None:
    return int(text) if text else None


def half_width(sample: Floats) -> float:
    n = len(sample)
    return float(stats.t.ppf(0.975, n - 1) * sample.std(ddof=1) / np.sqrt(n))


def holds(row: dict[str, str], column: str, sample: list[float]) -> None:
    """The mean of one value a seed, and its interval where there are several."""
    assert float(row[column]) == pytest.approx(np.mean(sample))
    if len(sample) > 1:
        assert float(row[f"{column} ±"]) == pytest.approx(half_width(np.array(sample)))
    else:
        assert row[f"{column} ±"] == ""


def means(values: dict[int | None, Floats]) -> list[float]:
    return [float(of_users.mean()) for of_users in values.values()]


def exposure(folder: Path, k: int, **key: Any) -> dict[str, list[float]]:
    """What the lists of each seed are besides accurate."""
    popularity = Counter(item for _, item in pairs(folder, "train"))
    by_seed: dict[int | None, list[int]] = {}
    for row in rows_of(folder, "lists", **key):
        by_seed.setdefault(row["seed"], []).extend(row["items"][:k])
    found: dict[str, list[float]] = {metric: [] for metric in BEYOND}
    for shown in by_seed.values():
        counts = np.array([Counter(shown)[item] for item in range(ITEMS)])
        apart = np.abs(counts[:, None] - counts).sum()
        found["coverage"].append(len(set(shown)) / ITEMS)
        found["novelty"].append(
            float(np.mean([-np.log2(max(1, popularity[item]) / USERS) for item in shown]))
        )
        found["gini"].append(apart / (2 * ITEMS * counts.sum()))
        found["popularity"].append(float(np.mean([popularity[item] for item in shown])))
    return found


@pytest.mark.parametrize("metric", ACCURACY)
def test_comparisons_are_means_over_users_and_seeds(folder: Path, metric: str) -> None:
    rows = table(folder, f"comparison-{metric}")
    assert {r["system"]: depth(r["layers"]) for r in rows} == SELECTED
    for row in rows:
        for measure in (f"{metric}@{k}" for k in KS):
            key = {"system": row["system"], "layers": SELECTED[row["system"]]}
            holds(row, measure, means(per_seed(folder, measure, **key)))


def test_every_metric_at_every_depth(folder: Path) -> None:
    rows = table(folder, "layers")
    assert [(r["system"], depth(r["layers"])) for r in rows] == [
        (s, k) for s in SYSTEMS for k in (LAYERS if s in DEEP else [None])
    ]
    for row in rows:
        key = {"system": row["system"], "layers": depth(row["layers"])}
        for measure in (f"{metric}@{k}" for metric in ACCURACY for k in KS):
            holds(row, measure, means(per_seed(folder, measure, **key)))
        for metric, sample in exposure(folder, 20, **key).items():
            holds(row, f"{metric}@20", sample)


def test_what_lists_are_besides_accurate(folder: Path) -> None:
    rows = table(folder, "beyond-accuracy")
    assert [r["system"] for r in rows] == SYSTEMS
    for row in rows:
        key = {"system": row["system"], "layers": SELECTED[row["system"]]}
        for metric, sample in exposure(folder, 10, **key).items():
            holds(row, f"{metric}@10", sample)


def test_selection_is_by_validation(folder: Path) -> None:
    rows = table(folder, "selection")
    text = (folder / "reports/report.md").read_text()
    for row, cells in zip(rows, markdown(text)["selection"], strict=True):
        columns = {"no depth": None, "K = 0": 0, "K = 2": 2}
        for column, layers in columns.items():
            key = {"system": row["system"], "layers": layers, "split": "validation"}
            if sample := means(per_seed(folder, **key)):
                holds(row, column, sample)
            else:
                assert row[column] == ""
        best = max((c for c in columns if row[c]), key=lambda c: float(row[c]))
        assert columns[best] == SELECTED[row["system"]]
        assert [cell.startswith("**") for cell in cells[1:]] == [c == best for c in columns]


def test_controls_beside_the_systems_themselves(folder: Path) -> None:
    rows = table(folder, "controls")
    assert [r["system"] for r in rows] == ["frozen", "alpha", "lattice"]
    for row in rows:
        key = {"system": row["system"], "layers": SELECTED[row["system"]]}
        holds(row, "itself", means(per_seed(folder, **key)))
        for control in CONTROLS:
            sample = means(per_seed(folder, control=control, **key))
            column = control.replace("_", " ")
            assert bool(sample) == (row[column] != "")
            if sample:
                holds(row, column, sample)


def test_gains_are_paired_by_seed_at_equal_depth(folder: Path) -> None:
    rows = table(folder, "gains")
    assert [r["system"] for r in rows] == ["frozen", "alpha", "unfrozen"]
    for row in rows:
        for k in LAYERS:
            mine, base = (per_seed(folder, system=s, layers=k) for s in (row["system"], "none"))
            holds(row, f"K = {k}", [float((mine[s] - base[s]).mean()) for s in SEEDS])


def settings(folder: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Both sides of every row of a table of differences."""
    at = {s: {"system": s, "layers": k} for s, k in SELECTED.items()}
    if (control := name.replace("-", "_")) in CONTROLS:
        kept = ["frozen", "alpha"] + ["lattice"] * (control != "unit_length")
        return [(at[s], at[s] | {"control": control}) for s in kept]
    other = {"none": "none", "preferred": preferred()}[name]
    return [(at[s], at[other]) for s in SYSTEMS if s != other]


def preferred(systems: list[str] = SYSTEMS) -> str:
    """The best on validation whose fits were not cut off."""
    able = [s for s in systems if not limited({"system": s})]
    return max(able, key=lambda s: np.mean([
        m.mean(split="validation") for m in STUDY
        if (m.system, m.layers, m.control) == (s, SELECTED[s], None)
    ]))  # fmt: skip


def limited(key: dict[str, Any]) -> bool:
    wanted = {"layers": SELECTED[key["system"]], "control": None} | key
    return any(m.limited for m in STUDY if all(getattr(m, k) == v for k, v in wanted.items()))


def holm(p: list[float]) -> list[float]:
    """By its definition: p of rank r counts n - r times, none less than one before it."""
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1, np.array(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(stepped)
    return [float(value) for value in adjusted]


@pytest.mark.parametrize("name", ["none", "placebo", "no-content", "unit-length", "preferred"])
def test_differences_with_all_that_their_verdict_rests_on(folder: Path, name: str) -> None:
    rows = table(folder, f"against-{name}")
    sides = settings(folder, name)
    assert [r["system"] for r in rows] == [mine["system"] for mine, _ in sides]
    called = preferred() if name == "preferred" else name.replace("-", " ")
    corrected = holm([float(row["p, sign flips"]) for row in rows])
    rng = np.random.default_rng(8)
    for row, (mine, other), adjusted in zip(rows, sides, corrected, strict=True):
        a, b = per_user(folder, **mine), per_user(folder, **other)
        found = {k: float(v) for k, v in row.items() if v and k not in ("system", "verdict")}
        assert depth(row["layers"]) == mine["layers"]
        assert (found["NDCG@10"], found[called]) == pytest.approx((a.mean(), b.mean()))
        difference = a - b
        assert found["difference (users)"] == pytest.approx(difference.mean())
        interval = stats.bootstrap(
            (difference,), np.mean, n_resamples=4000, method="BCa", rng=rng
        ).confidence_interval
        ends = found["difference (users) low"], found["difference (users) high"]
        width = interval.high - interval.low
        assert ends == pytest.approx((interval.low, interval.high), abs=0.08 * width)
        assert found["p, t"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
        signs = rng.choice([-1, 1], (4000, len(difference)))
        flipped = (np.abs(signs @ difference) >= abs(difference.sum())).mean()
        assert found["p, sign flips"] == pytest.approx(flipped, abs=0.035)
        assert found["p, Holm"] == pytest.approx(adjusted)
        assert found["d_z"] == pytest.approx(difference.mean() / difference.std(ddof=1))
        shares = (difference > 0).mean(), (difference < 0).mean()
        assert (found["users who gain"], found["users who lose"]) == pytest.approx(shares)
        seeds = paired(per_seed(folder, **mine), per_seed(folder, **other))
        holds(row, "difference (seeds)", seeds)
        assert row["verdict"] == verdict(found, limited(mine) or limited(other))


def paired(a: dict[int | None, Floats], b: dict[int | None, Floats]) -> list[float]:
    """Differences seed by seed; a system that reads none stands beside each."""
    seeds = [s for s in (a if None in b else b) if s is not None]
    return [float((a.get(s, a.get(None)) - b.get(s, b.get(None))).mean()) for s in seeds]


def verdict(found: dict[str, float], limited: bool) -> str:
    if limited:
        return "limited"
    clear = abs(found["difference (seeds)"]) > found["difference (seeds) ±"]
    agrees = found["difference (seeds)"] * found["difference (users)"] > 0
    if found["p, Holm"] >= 0.05 or not (clear and agrees):
        return "undecided"
    return "higher" if found["difference (users)"] > 0 else "lower"


def test_all_verdicts_are_among_these(folder: Path) -> None:
    """So that none of the above passes for want of cases."""
    found = {row["verdict"] for n in ("none", "placebo") for row in table(folder, f"against-{n}")}
    assert found == {"higher", "lower", "undecided", "limited"}


def test_what_nothing_more_is_said_of_has_no_table_more(folder: Path) -> None:
    """The best with content is the preferred one: a table beside it would be the same."""
    assert preferred() == preferred(["frozen", "alpha", "unfrozen", "lattice"])
    names = {path.stem for path in (folder / "reports/tables").glob("against-*.csv")}
    assert names == {f"against-{n}" for n in ("none", "preferred", *CONTROLLED)}


def test_filled_are_the_points_of_what_is_told_apart(folder: Path) -> None:
    told = {}
    for drawing, name in (("gains", "none"), ("gains-placebo", "placebo")):
        told[name] = sorted(r["system"] for r in table(folder, f"against-{name}")
                            if r["verdict"] in ("higher", "lower"))  # fmt: skip
        text = (folder / f"reports/figures/{drawing}.svg").read_text()
        assert text.endswith(f"; told={'+'.join(told[name])}</svg>")
    assert told["none"] and "unfrozen" not in told["none"]  # a fit of it was cut off


def markdown(text: str) -> dict[str, list[list[str]]]:
    """The cells of the tables of a page that have a file, by its name."""
    found = re.findall(r"((?:^\|.*\n)+)\n\[[^\]]+\]\(tables/([^)]+)\.csv\)", text, re.M)
    return {
        name: [[c.strip() for c in line.split("|")[1:-1]] for line in rows.splitlines()[2:]]
        for rows, name in found
    }


def test_bold_are_the_best_and_those_that_users_do_not_tell_from_them(folder: Path) -> None:
    shown = markdown((folder / "reports/report.md").read_text())
    rng = np.random.default_rng(2)
    numbers, edges = set(), 0
    for metric in ACCURACY:
        cells = shown[f"comparison-{metric}"]
        for at, k in enumerate(KS, 2):
            values = [per_user(folder, f"{metric}@{k}", system=s, layers=SELECTED[s])
                      for s in SYSTEMS]  # fmt: skip
            best = int(np.argmax([v.mean() for v in values]))
            others = [i for i in range(len(SYSTEMS)) if i != best]
            signs = rng.choice([-1, 1], (4000, len(values[best])))
            less = [values[best] - values[i] for i in others]
            p = holm([float((np.abs(signs @ d) >= abs(d.sum())).mean()) for d in less])
            bold = {i for i, row in enumerate(cells) if row[at].startswith("**")}
            assert best in bold
            for i, value in zip(others, p, strict=True):
                edges += (edge := abs(value - 0.05) < 0.02)  # random signs may tell otherwise
                assert edge or (i in bold) == (value >= 0.05)
            numbers.add(len(bold))
        assert not any(cell.startswith("**") for row in cells for cell in row[:2])
    assert len(numbers) > 1 and edges < 10
    assert not any("**" in cell for row in shown["beyond-accuracy"] for cell in row)


def span(text: str) -> tuple[int, int]:
    """The counts that a slice's name stands for."""
    name = text.split(" (")[0]
    if "cold" in text or name.startswith("cold"):
        return 0, 0
    low, high = re.findall(r"(\d+)(?:–(\d+)|\+)?", name)[-1][0], re.findall(r"–(\d+)", name)
    return int(low), int(high[0]) if high else 10**9 if "+" in name else int(low)


def history(folder: Path) -> dict[int, int]:
    known = [user for user, _ in pairs(folder, "train")]
    return {user: known.count(user) for user in judged(folder)}


def test_users_by_history(folder: Path) -> None:
    rows, done = table(folder, "slices-users"), history(folder)
    columns = list(rows[0])[2:]
    assert len(columns) > 2 and columns[0].startswith("0 (cold)")
    sizes = []
    for column in columns:
        low, high = span(column)
        chosen = [low <= n <= high for n in done.values()]
        sizes.append(sum(chosen))
        assert f"({sizes[-1]:,} users)" in column
        for row in rows:
            values = per_user(folder, system=row["system"], layers=SELECTED[row["system"]])
            assert float(row[column]) == pytest.approx(values[chosen].mean())
    assert sum(sizes) == len(done)


def test_gain_by_history(folder: Path) -> None:
    rows, done = table(folder, "gain-by-history"), history(folder)
    name = preferred()
    gain = per_user(folder, system=name, layers=SELECTED[name]) - per_user(
        folder, system="none", layers=SELECTED["none"]
    )
    for row in rows:
        first, last = span(row["training interactions"])
        mine = gain[[first <= n <= last for n in done.values()]]
        assert int(row["users"]) == len(mine)
        column = f"{name} less none"
        assert float(row[column]) == pytest.approx(mine.mean())
        low, high = (float(row[f"{column} {end}"]) for end in ("low", "high"))
        assert low - 1e-9 <= mine.mean() <= high + 1e-9
        shares = float(row["users who gain"]), float(row["users who lose"])
        assert shares == pytest.approx(((mine > 0).mean(), (mine < 0).mean()))
    assert sum(int(row["users"]) for row in rows) == len(done)


def test_items_by_kind(folder: Path) -> None:
    rows = table(folder, "slices-items")
    known = [item for _, item in pairs(folder, "train")]
    wanted = pairs(folder, "test")
    seen = {
        m: set(pq.read_table(folder / f"data/embeddings/{m}.parquet")["item_id"].to_pylist())
        for m in ("image", "audio")
    }
    columns = [c for c in list(rows[0])[2:] if not c.endswith("±")]
    kinds = [column.split(":")[0].split(" (")[0] for column in columns]
    assert {"head", "tail", "with image", "without audio"} <= set(kinds)
    assert not {"with text", "with video"} & set(kinds)  # all and none
    for column, kind in zip(columns, kinds, strict=True):
        if kind.startswith("with"):
            has = {item for item in range(ITEMS) if f"i{item:02}" in seen[kind.split()[1]]}
            members = has if kind.startswith("with ") else set(range(ITEMS)) - has
        else:
            low, high = span(column.split(": ")[1]) if kind != "cold" else (0, 0)
            members = {item for item in range(ITEMS) if low <= known.count(item) <= high}
        chosen = [pair for pair in wanted if pair[1] in members]
        assert column.endswith(f"({len(chosen):,})")
        for row in rows:
            hits: dict[int | None, set[tuple[int, int]]] = {}
            key = {"system": row["system"], "layers": SELECTED[row["system"]]}
            for listed in rows_of(folder, "lists", **key):
                top = {(listed["user"], item) for item in listed["items"][:10]}
                hits.setdefault(listed["seed"], set()).update(top)
            shares = [sum(pair in found for pair in chosen) / len(chosen)
                      for found in hits.values()]  # fmt: skip
            holds(row, column, shares)


def test_when_fits_were_at_their_best(folder: Path) -> None:
    rows = {(r["system"], r["control"]): r for r in table(folder, "convergence")}
    assert {system for system, _ in rows} == {*DEEP}  # all others have a single epoch
    for (system, control), row in rows.items():
        found = [
            m for m in STUDY
            if (m.system, m.layers, m.control or "") == (system, SELECTED[system], control)
        ]  # fmt: skip
        best = [m.best_epoch for m in found]
        assert float(row["best epoch, mean"]) == pytest.approx(np.mean(best))
        assert int(row["best epoch, latest"]) == max(best)
        assert int(row["epochs, most"]) == max(len(m.epochs()) for m in found)
        assert int(row["at the limit"]) == sum(m.limited for m in found)
    assert rows["unfrozen", ""]["at the limit"] == rows["frozen", "placebo"]["at the limit"] == "1"


def test_alpha_by_depth(folder: Path) -> None:
    rows = table(folder, "alpha")
    assert [(r["system"], depth(r["layers"])) for r in rows] == [("alpha", k) for k in LAYERS]
    for row in rows:
        key = ("alpha", int(row["layers"]), None)
        sample = [m.alpha for m in STUDY if (m.system, m.layers, m.control) == key]
        holds(row, "alpha", [value for value in sample if value is not None])


def test_curves_are_means_over_all_seeds(folder: Path) -> None:
    rows = table(folder, "curves")
    assert [(r["system"], int(r["epoch"])) for r in rows] == [
        (s, n)
        for s in SYSTEMS
        for n in ((1, 2, 3, 4) if s in DEEP else (1,))  # seed 1 stops
    ]
    for row in rows:
        of_seeds = [
            m.epochs()[int(row["epoch"]) - 1] for m in STUDY
            if (m.system, m.layers, m.control) == (row["system"], SELECTED[row["system"]], None)
        ]  # fmt: skip
        for column in ("train_loss", "validation_loss", "ndcg@10"):
            sample = [epoch[column] for epoch in of_seeds if column in epoch]
            shown = row[column]
            assert float(shown) == pytest.approx(np.mean(sample)) if sample else shown == ""
    rows = table(folder, "alpha-curves")
    assert [(r["layers"], r["epoch"]) for r in rows] == [(k, e) for k in "02" for e in "1234"]


def test_published_numbers_stand_beside_ours(folder: Path) -> None:
    rows = table(folder, "published")
    known = [
        row for row in read(Path(published.__file__).with_name("published.csv"))
        if row["dataset"] == "dbbook" and row["system"] in SYSTEMS
        and depth(row["layers"]) in ([None] if row["system"] == "lattice" else LAYERS)
    ]  # fmt: skip
    assert {(r["table"], r["system"], r["layers"]) for r in rows} == {
        (r["table"], r["system"], r["layers"]) for r in known
    }
    assert {r["system"] for r in rows} == {"none", "frozen", "alpha", "unfrozen", "lattice"}
    for row, theirs in zip(rows, known, strict=True):
        key = {"system": row["system"], "layers": depth(row["layers"])}
        for measure in (f"{m}@{k}" for m in ("ndcg", "recall", "precision") for k in KS):
            if theirs[measure]:
                assert float(row[f"{measure} published"]) == float(theirs[measure])
            holds(row, measure, means(per_seed(folder, measure, **key)))
        assert row["α published"] == theirs["alpha"]
        learned = [
            m.alpha for m in STUDY if (m.system, m.layers, m.control) == (*key.values(), None)
        ]
        if row["system"] == "alpha":
            holds(row, "α", [value for value in learned if value is not None])
        else:
            assert row["α"] == ""
    assert float(rows[0]["ndcg@10 published"]) == 0.0696  # Table 3, LightGCN at K = 0
    assert any(row["α published"] and row["α"] for row in rows)


def middles(folder: Path) -> list[int]:
    """The users in the middles of six equal parts by what they had done before test."""
    known = Counter(user for split in ("train", "validation") for user, _ in pairs(folder, split))
    ordered = sorted(judged(folder), key=lambda user: (known[user], user))
    return [ordered[int((part + 0.5) * len(ordered) / 6)] for part in range(6)]


def test_the_gallery_repeats_the_lists(folder: Path) -> None:
    rows = table(folder, "gallery")
    liked = set(pairs(folder, "test"))
    assert preferred() in {row["system"] for row in rows}
    assert list(dict.fromkeys(row["user"] for row in rows)) == [f"User {n}" for n in range(1, 7)]
    people = dict(zip((f"User {n}" for n in range(1, 7)), middles(folder), strict=True))
    for row in rows:
        user, system = people[row["user"]], row["system"]
        assert depth(row["layers"]) == SELECTED[system]
        seed = None if system == "ease" else SEEDS[0]
        (found,) = (
            listed
            for listed in rows_of(folder, "lists", system=system, layers=SELECTED[system])
            if (listed["seed"], listed["user"]) == (seed, user)
        )
        item = found["items"][int(row["rank"]) - 1]
        assert (row["item_id"], row["title"]) == (f"i{item:02}", f"Title {item}")
        assert row["liked"] == str((user, item) in liked).lower()


def test_maps_hold_every_item_that_has_a_vector(folder: Path) -> None:
    sizes = {p.stem: len(read(p)) for p in (folder / "reports/tables").glob("map-*.csv")}
    # The trained model is a closed form, which has no vectors.
    assert sizes == {"map-text": ITEMS, "map-image": 20, "map-audio": 3}
    labels = {row["item_id"]: row["label"] for row in table(folder, "map-text")}
    assert (labels["i00"], labels["i01"], labels["i02"]) == ("drama", "sea", "")
