"""Made-up studies of a small catalogue, and the workspace in which a report finds them."""

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from model.metrics import KS, METRICS, SELECTION, Exposure, Measure
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.common import paths
from pipeline.common.files import write_csv
from pipeline.experiments.judged import Judged
from pipeline.experiments.results import RESULT, Study, Trial, write_judged, write_rows

REPOSITORY = Path(__file__).parents[1]
USERS, ITEMS, LENGTH = 48, 60, 50
ACCURACY = tuple(Measure(m, k) for k in KS for m, metric in METRICS.items() if metric.accuracy)
BEYOND = tuple(Measure(m, k) for k in KS for m, metric in METRICS.items() if not metric.accuracy)
SPLITS = ("validation", "test")
FAILURES = [("image", "i09", "images/<b>|.png", "not an image")]
WEIGHTS = {"text": "bundled", "image": "random initialisation (seed 0)"}
WEIGHTS |= {"audio": "random initialisation (seed 1)", "video": "pretrained"}
ENCODED = {"text": ITEMS, "image": 20, "audio": 3, "video": 0}

Values = NDArray[np.float64]
Pairs = NDArray[np.int64]


def _interactions() -> dict[str, Pairs]:
    """Users and items (2, n) by split: one of each is cold, and nobody has an item twice."""
    rng = np.random.default_rng(4)
    found: dict[str, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    odds = 1 / np.arange(1, ITEMS + 1) ** 0.7
    for user in range(USERS):
        warm = 0 if user == 0 else 2 + user % 9
        wanted = {"train": warm, "validation": 1 + user % 2, "test": (user % 4) or 2 * (user < 24)}
        items = rng.choice(ITEMS, sum(wanted.values()), replace=False, p=odds / odds.sum())
        for split, n in wanted.items():
            mine, items = items[:n], items[n:]
            kept = (item for item in sorted(mine) if split != "train" or item != ITEMS - 1)
            found[split] += [(user, int(item)) for item in kept]
    return {split: np.array(pairs).T for split, pairs in found.items()}


INTERACTIONS = _interactions()
RELEVANT = {split: INTERACTIONS[split] for split in SPLITS} | {"refit": INTERACTIONS["test"]}
"""What is to be found: test too, of models that were fitted once more."""
JUDGED = {split: np.unique(pairs[0]) for split, pairs in RELEVANT.items()}
"""The users with something to be found."""


@dataclass(frozen=True)
class Model:
    """A fitted model of a study.

    Attributes:
        values: split → measure → (n,) of the judged users.
        lists: split → (n, LENGTH) items.
    """

    system: str
    layers: int | None
    seed: int | None
    control: str | None = None
    values: Mapping[str, Mapping[Measure, Values]] = field(default_factory=dict)
    lists: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    best_epoch: int = 3
    limited: bool = False
    alpha: float | None = None
    history: tuple[dict[str, float], ...] | None = None

    def mean(self, measure: Measure = SELECTION, split: str = "test") -> float:
        """Over users."""
        return float(self.values[split][measure].mean())

    def epochs(self) -> list[dict[str, float]]:
        """A history as long as the seed says; a system without depth has one epoch, no losses."""
        if self.history is not None:
            return [dict(row) for row in self.history]
        if self.layers is None:
            return [{"epoch": 1, "ndcg@10": 0.5}]
        seed = self.seed or 0
        return [
            {"epoch": n, "train_loss": 1 / (n + seed) + self.layers + bool(self.control)}
            | {"validation_loss": 0.7 * n}
            | {"ndcg@10": 0.01 * n * seed}
            | ({} if self.alpha is None else {"alpha": self.alpha * n})
            for n in range(1, 4 + seed)
        ]

    def trial(self) -> Trial:
        """As the stages hold it."""
        lost = () if "validation" in self.values else ("validation_loss", "ndcg@10")
        made: Any = SimpleNamespace(
            experiment=SimpleNamespace(system=self.system, layers=self.layers, seed=self.seed),
            best_epoch=self.best_epoch,
            limited=self.limited,
            diagnostics={} if self.alpha is None else {"alpha": self.alpha},
            results=self.results(),
            history=[{k: v for k, v in row.items() if k not in lost} for row in self.epochs()],
            measures=ACCURACY,
            splits=tuple(self.values),
            judged=self._judged,
        )
        return Trial(self.system, self.control, made, made.experiment)

    def results(self) -> list[dict[str, Any]]:
        """The means over users, and what the lists are."""
        rows = []
        for split, values in self.values.items():
            found = {m: float(of_users.mean()) for m, of_users in values.items()}
            for m in BEYOND:
                found[m] = float(METRICS[m.metric].function(self._exposure(split, m.k)))
            rows += [dict(zip(RESULT, (split, *m, value), strict=True)) for m, value in
                     found.items()]  # fmt: skip
        return rows

    def _exposure(self, split: str, k: int) -> Exposure:
        def counts(items: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.bincount(items.ravel(), minlength=ITEMS))

        return Exposure(counts(self.lists[split][:, :k]), counts(INTERACTIONS["train"][1]), USERS)

    def _judged(self, split: str) -> Judged:
        users = JUDGED[split]
        relevant = np.bincount(RELEVANT[split][0], minlength=USERS)[users]
        values = np.stack([self.values[split][m] for m in ACCURACY], axis=1)
        return Judged(users.astype(np.int32), relevant.astype(np.int32), values, self.lists[split])


def model(
    system: str,
    layers: int | None,
    seed: int | None,
    control: str | None = None,
    *,
    validation: float | None = None,
    test: float | None = None,
    splits: Iterable[str] = SPLITS,
    **rest: Any,
) -> Model:
    """A model with values and lists at random.

    Args:
        validation, test: the mean NDCG@10 instead of one at random. Users differ about it by what
            is theirs and the setting's, seeds not at all: all that depends on the mean is planned.
    """

    def rng(*what: Any) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(repr((system, control, layers, *what)).encode()))

    values, lists = {}, {}
    for split in splits:
        n = len(JUDGED[split])
        mine, once = rng(split).random((n, len(ACCURACY))), rng(split, seed).random((n, 1))
        # Fixed biases, so that some systems differ and others do not.
        bias = {"frozen": 0.25, "alpha": -0.2, "unfrozen": 0.21}.get(system, 0) - 0.1 * bool(
            control
        )
        values[split] = dict(zip(ACCURACY, (mine + 0.1 * once + bias).T, strict=True))
        level = {"validation": validation, "test": test}.get(split)
        if level is not None:
            noise = rng(split).normal(0, 0.02, n)
            values[split][SELECTION] = level + noise - noise.mean()
        shown = rng(split, seed, "lists")
        lists[split] = np.stack([shown.permutation(ITEMS)[:LENGTH] for _ in range(n)])
        lists[split] = lists[split].astype(np.int32)
    if system == "alpha":
        rest = {"alpha": float(rng(seed).random())} | rest
    return Model(system, layers, seed, control, values, lists, **rest)


def selected(models: Iterable[Model], system: str) -> int | None:
    """A system's depth of the best mean NDCG@10 on validation, where controls are studied."""
    means: dict[int | None, list[float]] = {}
    for m in models:
        if m.system == system and m.control is None:
            means.setdefault(m.layers, []).append(m.mean(split="validation"))
    return max(means, key=lambda layers: float(np.mean(means[layers])))


def without(models: Iterable[Model], *splits: str) -> list[Model]:
    """The same models, not evaluated on some splits."""
    return [
        replace(
            m,
            values={s: v for s, v in m.values.items() if s not in splits},
            lists={s: v for s, v in m.lists.items() if s not in splits},
        )
        for m in models
    ]


def write_workspace(
    folder: Path,
    models: list[Model],
    *,
    trained: Model | None = None,
    failures: list[tuple[str, str, str, str]] = FAILURES,
    weights: dict[str, str] = WEIGHTS,
    fusion: str = "frozen",
    protocol: str = "validated",
    **summary: Any,
) -> None:
    """What the earlier stages leave in `folder`, the current one."""
    assert Path.cwd() == folder
    trained = trained or next(m for m in models if m.control is None)
    _parameters(models, fusion, protocol)
    for system in dict.fromkeys(m.system for m in models):
        trials = [m.trial() for m in models if m.system == system]
        study = paths.STUDY / system
        study.mkdir(parents=True, exist_ok=True)
        Study.of(trials).write(study)
        write_judged(study / "users.parquet", study / "lists.parquet", trials)
    _prepared(trained, summary)
    _encoded(failures, weights)
    _trained(trained, protocol)
    _newcomers()


def _parameters(models: list[Model], fusion: str, protocol: str) -> None:
    yaml = YAML()
    params = yaml.load(REPOSITORY / "params.yaml")
    layers = {m.layers for m in models} - {None} or {0, 2}
    seeds = {m.seed for m in models} - {None} or {1, 2, 3}
    params["fusion"], params["protocol"] = fusion, protocol
    params["study"] = {
        "systems": list(dict.fromkeys(m.system for m in models)),
        "layers": sorted(layers),
        "seeds": sorted(seeds),
    }
    yaml.dump(params, Path("params.yaml"))


def _prepared(trained: Model, more: dict[str, Any]) -> None:
    paths.MANIFESTS.mkdir(parents=True, exist_ok=True)
    ids = [f"i{n:02}" for n in range(ITEMS)]
    topics = [("drama", "sea|storms", None)[n % 3] for n in range(ITEMS)]
    titles = [f"Title {n}" for n in range(ITEMS)]
    pq.write_table(pa.table({"item_id": ids, "title": titles, "topic": topics}), paths.ITEMS)
    pq.write_table(pa.table({"user_id": [f"u{n:02}" for n in range(USERS)]}), paths.USERS)
    kept = {s: p for s, p in INTERACTIONS.items() if s == "train" or s in trained.values}
    for split in paths.SPLITS:
        users, items = kept.get(split, np.empty((2, 0)))
        columns = {"user": pa.array(users, pa.int32()), "item": pa.array(items, pa.int32())}
        pq.write_table(pa.table(columns), paths.split_path(split))
    for modality, n in ENCODED.items():
        columns = {"item_id": ids[:n], "source": [f"{modality} {i}" for i in ids[:n]]}
        table = pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()})
        table = table.append_column("sha256", pa.array([""] * n, pa.string()))
        pq.write_table(table, paths.manifest_path(modality))
    summary = {
        "dataset": "data/raw/sample", "synthetic": True, "users": USERS, "items": ITEMS,
        "interactions": {s: kept[s].shape[1] if s in kept else 0 for s in paths.SPLITS},
        "sparsity": 0.4, "cold_items": 1, "cold_users": 1, "k_core": 3,
        "split": "leave one out, by time", "ratings": "at least 4: 43 of 90 rows count",
        "modalities": {m: {"items": n + (m == "image")} for m, n in ENCODED.items()},
    } | more  # fmt: skip
    paths.SUMMARY.write_text(json.dumps(summary))


def _encoded(failures: list[tuple[str, str, str, str]], weights: dict[str, str]) -> None:
    paths.EMBEDDINGS.mkdir(parents=True, exist_ok=True)
    for modality, count in ENCODED.items():
        metadata = {
            "model": f"net for {modality}", "width": "4", "license": "MIT", "count": str(count),
            "weights": weights[modality], "weights_sha256": "ab" * 32,
        }  # fmt: skip
        path = paths.embeddings_path(modality)
        vectors = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
        ids = [f"i{n:02}" for n in range(count)]
        write_embeddings(path, ids, lambda part, v=vectors: v[part], 4, metadata)
        mine = [failed[1:] for failed in failures if failed[0] == modality]
        remarks = [("i01", "a.jpg", "its end is missing")] * (modality == "image")
        _texts(path.with_suffix(".failures.csv"), ("item_id", "source", "reason"), mine)
        _texts(path.with_suffix(".remarks.csv"), ("item_id", "source", "remark"), remarks)


def _texts(path: Path, names: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    columns = [[row[place] for row in rows] for place in range(len(names))]
    arrays = [pa.array(column, pa.string()) for column in columns]
    write_csv(path, pa.Table.from_arrays(arrays, list(names)))


def _trained(trained: Model, protocol: str) -> None:
    paths.MODELS.mkdir(parents=True, exist_ok=True)
    paths.REPORTS.mkdir(parents=True, exist_ok=True)
    trial = trained.trial()
    description = {
        "dataset": "data/raw/sample", "split": "leave one out", "ratings": "all", "k_core": 3,
        "system": trained.system, "layers": trained.layers, "seed": trained.seed,
        "modalities": ["text", "image"], "best_epoch": trained.best_epoch,
        "parameters": {"train.layer_weights": [], "aggregate": "mean", "protocol": protocol},
    }  # fmt: skip
    # A closed form has no vectors of users and items.
    names = ("weights",) if trained.system == "ease" else ("users", "items")
    draw = np.random.default_rng(1)
    tensors = {name: draw.normal(size=(ITEMS, 4)).astype(np.float32) for name in names}
    if trained.system == "blend":
        tensors |= {"chosen.ease.strength": np.array(8.0), "chosen.ease.weight": np.array(1.0)}
    if trained.system == "blend" or trained.layers is not None:
        description["parameters"] |= {"train.epochs": 30}  # type: ignore[operator]
    save_file(tensors, paths.MODEL, {"recommender": json.dumps(description)})
    write_rows(paths.RESULTS, trained.results(), RESULT)
    write_judged(paths.TRAINED_USERS, paths.TRAINED_LISTS, [trial])
    write_rows(paths.HISTORY, trial.cell.history, ("epoch",))


def _newcomers() -> None:
    """Two systems, four users with new items, and three new users."""
    paths.NEWCOMERS.mkdir(parents=True, exist_ok=True)
    systems = ["popularity"] * 4 + ["frozen"] * 4
    items = {
        "system": systems,
        "user": pa.array([0, 1, 2, 3] * 2, pa.int32()),
        "auc": [0.5, 0.5, 0.5, None, 0.75, 1.0, 0.5, None],
        "ndcg@10": [None, 0.2, 0.4, 0.6, None, 0.5, 0.6, 0.7],
        "share": [None, 0.0, 0.0, 0.0, None, 0.1, 0.2, 0.3],
    }
    pq.write_table(pa.table(items), paths.NEW_ITEMS)
    users = {
        "system": ["popularity"] * 3 + ["frozen"] * 3,
        "user": pa.array([4, 5, 6] * 2, pa.int32()),
        "folded": [0.3, 0.4, 0.5, 0.1, 0.2, 0.3],
        "refitted": [0.3, 0.4, 0.5, 0.2, 0.3, 0.4],
        "overlap": [1.0, 1.0, 1.0, 0.5, 0.6, 0.7],
    }
    pq.write_table(pa.table(users), paths.NEW_USERS)
