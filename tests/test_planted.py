"""Catalogues whose truth is known: what the report concludes of them, from fits to findings."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML
from small import write_catalogue

from model.interactions import Interactions
from pipeline import newcomers, report, study, train
from pipeline.reporting.contrasts import Evidence
from pipeline.reporting.findings import findings
from pipeline.reporting.judgements import Judgements
from pipeline.reporting.questions import Questions
from pipeline.reporting.scores import Scores

ROOT = Path(__file__).parents[1]
USERS, ITEMS, TOPICS, WIDTH = 200, 150, 6, 8
WITH_CONTENT = ["frozen", "normalized", "early"]

Vectors = NDArray[np.float32]


def interactions(
    topics: NDArray[np.int64], sizes: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Interactions]:
    """Split → as many items a user as `sizes` says, nine in ten of them of one topic."""
    drawn = []
    for _ in range(USERS):
        weight = np.where(topics == rng.integers(TOPICS), 9 * (TOPICS - 1), 1.0)
        size = sum(sizes.values())
        drawn.append(rng.choice(ITEMS, size, replace=False, p=weight / weight.sum()))
    found, first = {}, 0
    for split, size in sizes.items():
        items = torch.tensor(np.stack(drawn)[:, first : first + size]).flatten()
        users = torch.arange(USERS).repeat_interleave(size)
        found[split] = Interactions.of(users, items, USERS, ITEMS)
        first += size
    return found


def write_planted(root: Path, content: bool, seed: int) -> None:
    """A catalogue of hidden topics.

    Args:
        content: whether vectors tell an item's topic, and histories are too short to do so;
            otherwise the vectors are noise, and histories are long.
    """
    rng = np.random.default_rng(seed)
    topics = rng.integers(TOPICS, size=ITEMS)
    sizes = {"train": 2 if content else 8, "validation": 3, "test": 5}
    vectors: dict[str, Vectors] = {}
    for modality in ("text", "image"):
        noise = rng.normal(size=(ITEMS, WIDTH))
        told = rng.normal(size=(TOPICS, WIDTH))[topics] * 3 if content else 0
        vectors[modality] = (noise + told).astype(np.float32)
    nothing = np.empty((0, WIDTH), np.float32)
    parts = interactions(topics, sizes, rng)
    write_catalogue(root, parts, vectors | {"audio": nothing, "video": nothing})
    for modality in ("text", "image", "audio", "video"):
        target = root / f"data/embeddings/{modality}"
        target.with_suffix(".failures.csv").write_text("item_id,source,reason\n")
        target.with_suffix(".remarks.csv").write_text("item_id,source,remark\n")
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params |= {"fusion": "none", "layers": 1, "seed": 1, "device": "cpu"}
    params["train"] |= {"dimension": 16, "epochs": 400, "batch_size": 512, "patience": 12}
    params["train"]["learning_rate"] = 0.02
    params["study"] = {
        "systems": ["none", *WITH_CONTENT], "layers": [1], "seeds": [1, 2, 3, 4],
        "controls": ["placebo", "no_content"],
    }  # fmt: skip
    params["newcomers"] |= {"items": 0.0, "users": 0.0}
    yaml.dump(params, root / "params.yaml")


def concluded(content: bool, seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Questions, str]:
    """What is compared, and the sentence on whether content helps."""
    write_planted(Path.cwd(), content, seed)
    train.main()
    for system in ("none", *WITH_CONTENT):
        monkeypatch.setattr(sys, "argv", ["study", system])
        study.main()
    newcomers.main()
    inputs = report.read_inputs()
    scores = Scores(inputs.study.results)
    evidence = Evidence(scores, Judgements(inputs.folders, scores.split), inputs.study.models)
    questions = Questions.of(inputs, evidence)
    [told] = [s for s in findings(inputs, evidence, questions, None) if "RQ1" in s]
    return questions, told


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty workspace, and one thread: models this small only wait for others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("here")
def test_noise_gains_nothing_over_its_placebo(monkeypatch: pytest.MonkeyPatch) -> None:
    questions, told = concluded(False, 0, monkeypatch)
    verdicts = {c.setting.system: c.verdict for c in questions.placebo}
    assert verdicts == dict.fromkeys(WITH_CONTENT, "undecided")
    assert "no gain by content that these users and seeds can show" in told
    assert "it gains" not in told and "is better than" not in told


@pytest.mark.usefixtures("here")
def test_content_that_decides_gains_and_the_gain_is_content(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    questions, told = concluded(True, 0, monkeypatch)
    for contrasts in (questions.baseline, questions.no_content, questions.placebo):
        assert {c.setting.system: c.verdict for c in contrasts} == dict.fromkeys(
            WITH_CONTENT, "higher"
        )
    assert questions.content and f"`{questions.content.system}`" in told
    assert "it gains by content, and it is above `none`" in told
