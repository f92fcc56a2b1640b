"""The files of a study: what stands in them, and that reading gives back what was written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.experiments.results import Study, Trial, headlines

RESULTS = [
    {"split": split, "metric": metric, "k": k, "value": value}
    for split, metric, k, value in (
        ("validation", "ndcg", 10, 0.25),
        ("validation", "coverage", 5, 0.5),
        ("test", "ndcg", 10, 1 / 3),
        ("test", "coverage", 5, 1.0),
    )
]


def cell(
    system: str,
    layers: int | None = None,
    seed: int | None = None,
    *,
    alpha: float | None = None,
    history: list[dict[str, float]] | None = None,
    control: str | None = None,
) -> Trial:
    """A fitted model of a study, as far as its numbers go."""
    made: Any = SimpleNamespace(
        experiment=SimpleNamespace(system=system, layers=layers, seed=seed),
        best_epoch=2,
        limited=False,
        diagnostics={} if alpha is None else {"alpha": alpha},
        results=RESULTS,
        history=[{"epoch": 1, "ndcg@10": 0.25}] if history is None else history,
    )
    return Trial(system, control, made, made.experiment)


def written(folder: Path, *cells: Trial) -> dict[str, list[str]]:
    """The lines of a study's files."""
    Study.of(cells).write(folder)
    return {
        name: (folder / f"{name}.csv").read_text().replace('"', "").splitlines()
        for name in ("models", "results", "history")
    }


def test_a_row_a_model_a_number_and_an_epoch(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "train_loss": 0.5, "validation_loss": 0.75, "ndcg@10": 0.1, "alpha": 0.9},
        {"epoch": 2, "train_loss": 0.4, "validation_loss": 0.7, "ndcg@10": 0.2, "alpha": 0.8},
    ]
    found = written(tmp_path, cell("alpha", 0, 19, alpha=0.8, history=history))
    assert found["models"] == [
        "system,control,layers,seed,best_epoch,epochs,limited,alpha",
        "alpha,,0,19,2,2,false,0.8",
    ]
    assert found["results"] == [
        "system,control,layers,seed,split,metric,k,value",
        "alpha,,0,19,validation,ndcg,10,0.25",
        "alpha,,0,19,validation,coverage,5,0.5",
        "alpha,,0,19,test,ndcg,10,0.3333333333333333",
        "alpha,,0,19,test,coverage,5,1",
    ]
    assert found["history"] == [
        "system,control,layers,seed,epoch,train_loss,validation_loss,ndcg@10,alpha",
        "alpha,,0,19,1,0.5,0.75,0.1,0.9",
        "alpha,,0,19,2,0.4,0.7,0.2,0.8",
    ]


def test_what_a_system_does_not_read_or_have_is_empty_or_no_column(tmp_path: Path) -> None:
    found = written(tmp_path, cell("ease"))
    assert found["models"] == [
        "system,control,layers,seed,best_epoch,epochs,limited",
        "ease,,,,2,1,false",
    ]
    assert found["results"][1] == "ease,,,,validation,ndcg,10,0.25"
    assert found["history"] == ["system,control,layers,seed,epoch,ndcg@10", "ease,,,,1,0.25"]
    found = written(tmp_path, cell("none", 2, 1, history=[]))
    assert found["history"] == ["system,control,layers,seed,epoch"]


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    studies = [
        Study.of([cell("none", layers, seed) for layers in (0, 2) for seed in (1, 2)]),
        Study.of([cell("ease", history=[])]),
        Study.of([cell("vbpr", None, 1), cell("alpha", 2, 1, alpha=0.1, control="placebo")]),
    ]
    for study in studies:
        study.write(tmp_path)
        read = Study.read(tmp_path)
        assert read.results == study.results and read.history == study.history
        dense = [{k: v for k, v in row.items() if v is not None} for row in read.models]
        assert dense == [{k: v for k, v in row.items() if v is not None} for row in study.models]
    both = studies[0] + studies[1]
    assert [row["system"] for row in both.models] == ["none"] * 4 + ["ease"]
    assert len(both.results) == 20 and len(both.history) == 4


def test_headlines_are_the_few_that_people_compare() -> None:
    rows = list(RESULTS)
    assert headlines("data/raw/shop", rows) == {
        "shop": {"test": {"ndcg@10": 0.333333}, "validation": {"ndcg@10": 0.25}}
    }
    rows += [
        {"split": split, "metric": metric, "k": k, "value": k / 100}
        for split in ("test", "validation")
        for metric in ("precision", "recall")
        for k in (5, 10)
    ]
    few = headlines("data/raw/shop", rows)["shop"]
    assert few == {
        "test": {"ndcg@10": 0.333333, "recall@10": 0.1, "precision@10": 0.1},
        "validation": {"ndcg@10": 0.25},
    }
    assert list(few["test"]) == ["ndcg@10", "recall@10", "precision@10"]
    only = headlines("data/raw/shop", [row for row in rows if row["split"] == "test"])
    assert only["shop"].keys() == {"test"}


def test_two_catalogues_have_two_names() -> None:
    folders = ["data/raw/shop", "data/raw/old/shop", "/srv/shop", "../shop", "s3://a/shop"]
    named = [name for folder in folders for name in headlines(folder, [])]
    assert named == ["shop", "old/shop", "/srv/shop", "../shop", "s3://a/shop"]
