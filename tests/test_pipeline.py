"""The user's commands, verbatim, in a temporary clone with a small text-only catalogue."""

import json
import re
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from cloning import REPOSITORY, Clone, make_clone, set_params, stages_run, write_catalogue
from safetensors import safe_open

Counts = Callable[[], tuple[int, int, int]]
SMALL = [
    "dataset=data/raw/small", "sample.items=8", "sample.users=4", "train.dimension=8",
    "train.epochs=15", "'study.systems=[none,frozen]'", "'study.layers=[0,2]'",
    "'study.seeds=[1,2]'",
]  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with a reproduced small catalogue."""
    made = make_clone(tmp_path_factory.mktemp("clone") / "repository")
    write_catalogue(made.folder / "data/raw/small")
    # As a user would: the parameters are set in the file, reproduced and committed.
    set_params(made, SMALL)
    made.run("dvc repro")
    made.run("git add -A && git commit -q -m small")
    return made


def test_a_second_repro_does_nothing(clone: Clone) -> None:
    output = clone.run("dvc repro")
    assert not stages_run(output) and "up to date" in output


# What is edited, and the stages that `dvc repro` then means to run, the catalogue being no sample.
# A file gets a new last line. Of code, one of each kind: test_dependencies.py compares all of it.
ENCODE = ["encode@audio", "encode@image", "encode@text", "encode@video"]
STUDY = ["study@frozen", "study@none"]
FIT = ["train", *STUDY, "newcomers"]
EVERYTHING = ["prepare", *ENCODE, *FIT, "report"]
EDITS = {
    "pipeline/common/files.py": EVERYTHING,
    "requirements.txt": EVERYTHING,
    "pipeline/sample.py": [],
    "pipeline/prepare.py": ["prepare"],
    "pipeline/catalogue/embeddings.py": ["prepare", *ENCODE, *FIT, "report"],
    "pipeline/common/device.py": [*ENCODE, *FIT],
    "pipeline/encoding/workers.py": [*ENCODE, "report"],  # it decodes the gallery's pictures
    "encoders/clip.py": ["prepare", *ENCODE],
    "data/weights/mine/vit.safetensors": ENCODE,
    "pipeline/experiments/cells.py": FIT,
    "model/metrics.py": [*FIT, "report"],
    "pipeline/train.py": ["train"],
    "pipeline/study.py": STUDY,
    "pipeline/newcomers.py": ["newcomers"],
    "pipeline/reporting/table.py": ["report"],
    "pipeline/reporting/templates/report.md.j2": ["report"],
    "data/raw/small/items.csv": ["prepare"],
    "README.md": [],
    "pipeline/importers/lightgcn.py": [],
    "fusion=alpha": ["train", "report"],
    "seed=3": ["train", "newcomers", "report"],
    "layers=1": ["train", "newcomers", "report"],
    "systems.lattice.neighbors=9": [*FIT, "report"],  # they find that nothing is to be fitted
    "systems.early.dropout=0.2": [*FIT, "report"],
    "aggregate=max": [*FIT, "report"],
    "train.missing=zero": [*FIT, "report"],
    "newcomers.items=0.2": ["newcomers", "report"],
    "study.seeds=[1,2,3]": [*STUDY, "report"],
    "study.layers=[0]": [*STUDY, "report"],
    "encode.image.encoder=clip": ["encode@image", "report"],
    "encode.text.precision=bf16": ["encode@text", "report"],
    "weights=pretrained": [*ENCODE, "report"],
    "device=cpu": [*ENCODE, *FIT, "report"],
    "engine=ray": [*ENCODE, "report"],  # the same files: nothing else follows
    "world_size=2": ["train", "report"],
    "prepare.seed=7": ["prepare", "report"],
    "sample.seed=7": ["report"],
}


def test_what_dvc_runs_after_an_edit(clone: Clone) -> None:
    """In both directions: nothing stale is called up to date, nothing else is run."""
    from dvc.repo import Repo

    wrong = {}
    for edit, expected in EDITS.items():
        kept = clone.folder / ("params.yaml" if "=" in edit else edit)
        before = kept.read_bytes() if kept.exists() else None
        if "=" in edit:
            set_params(clone, [edit])
        else:
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes((before or b"") + b"\n# edited\n")
        with Repo(str(clone.folder)) as repo:
            target = str(clone.folder / "dvc.yaml")  # what it needs from others counts too
            status = repo.status(targets=[target], with_deps=True)
            changed = {name.rpartition(":")[2] for name in status}
        if before is None:
            shutil.rmtree(kept.parent)
        else:
            kept.write_bytes(before)
        if changed != set(expected):
            wrong[edit] = sorted(changed ^ set(expected))
    assert not wrong


# Four stages in one process for each change: their imports are what takes long.
STAGES = """
import runpy, sys
for stage, *words in ["encode", "text"], ["train"], ["study", "none"], ["study", "frozen"]:
    sys.argv = [stage, *words]
    runpy.run_module(f"pipeline.{stage}", run_name="__main__")
"""


@pytest.fixture
def counts(clone: Clone) -> Iterator[Counts]:
    """Texts encoded, models fitted by `train`, and by the studies, when the stages run again."""
    stages = clone.folder / "stages.py"
    stages.write_text(STAGES)

    def counted() -> tuple[int, int, int]:
        said = clone.run("python -m stages")
        encoded = re.search(r"(\d+) encoded now", said)
        assert encoded
        fitted = sum(map(int, re.findall(r"(?:none|frozen): \d+ models, (\d+) of them", said)))
        return int(encoded[1]), int("fitted before" not in said), fitted

    yield counted
    stages.unlink()


# A change of code (file, old, new), and what is computed anew: texts, train's model, the study's 8.
CODE = [
    ("encoders/minilm.py", "MAX_TOKENS = 256", "MAX_TOKENS = 256  # as published", (0, 0, 0)),
    ("encoders/minilm.py", "MAX_TOKENS = 256", "MAX_TOKENS = 4", (30, 1, 4)),
    ("encoders/vit.py", "SIZE = 224", "SIZE = 225", (0, 0, 0)),
    ("encoders/media/text.py", ".strip()", ".strip().lower()", (30, 0, 0)),
    ("encoders/media/audio.py", "mean(0)", "max(0)", (0, 0, 0)),
    ("encoders/base.py", ".mean(0)", ".sum(0)", (30, 0, 0)),
    ("model/systems/lattice.py", "rsqrt", "sqrt", (0, 0, 0)),
    ("model/systems/ease.py", "COLUMNS = 1024", "COLUMNS = 512", (0, 0, 0)),
    ("model/systems/__init__.py", "cast(", "(lambda kind, value: value)(", (0, 0, 0)),
    ("model/systems/frozen.py", '"""LF-MMLGCN with', '"""LF-MMLGCN, with', (0, 0, 0)),
    ("model/fusion.py", "torch.ones_like", "torch.zeros_like", (0, 1, 4)),
    ("model/losses.py", "F.softplus", "F.relu", (0, 1, 8)),
    ("pipeline/experiments/fitting.py", "# One metadata key", "# Just one metadata key", (0, 0, 0)),
]


def test_what_is_computed_after_a_change_of_code(clone: Clone, counts: Counts) -> None:
    """Whatever DVC runs again: only what the change can have changed."""
    assert counts() == (0, 0, 0)
    got = []
    for file, old, new, _ in CODE:
        path = clone.folder / file
        before = path.read_text()
        assert old in before
        path.write_text(before.replace(old, new))
        got.append(counts())
        path.write_text(before)
    clone.run("git checkout -q . && dvc checkout -q")
    assert got == [expected for *_, expected in CODE]


def test_a_seed_more_fits_one_cell_a_system_and_depth(clone: Clone) -> None:
    output = clone.run("dvc exp run -S 'study.seeds=[1,2,3]'")
    assert stages_run(output) == ["study@none", "study@frozen", "report"]
    assert output.count("6 models, 2 of them fitted now") == 2
    clone.run("git checkout -q . && dvc checkout -q")


def test_report_is_there(clone: Clone) -> None:
    for name in ("metrics.json", "history.csv", "report.md", "index.html"):
        assert (clone.folder / "reports" / name).stat().st_size > 100
    metrics = json.loads((clone.folder / "reports/metrics.json").read_text())
    assert list(metrics) == ["small"]
    assert {split: list(values) for split, values in metrics["small"].items()} == {
        "test": ["ndcg@10", "recall@10", "precision@10"], "validation": ["ndcg@10"],
    }  # fmt: skip
    assert "small.test.recall@10" in clone.run("dvc metrics show")


def test_an_unknown_system_fails_at_once_and_lists_the_valid_ones(clone: Clone) -> None:
    output = clone.run("dvc exp run -S fusion=bogus", ok=False)
    assert "none, frozen, alpha, unfrozen, normalized" in output
    assert "to be fitted" not in output
    clone.run("git checkout -q params.yaml dvc.lock")


def test_an_unknown_parameter_is_refused(clone: Clone) -> None:
    output = clone.run("dvc exp run -S fuson=frozen", ok=False)
    assert "fuson" in output


def test_another_system_reruns_only_train_and_report(clone: Clone) -> None:
    output = clone.run("dvc exp run -S fusion=normalized")
    assert stages_run(output) == ["train", "report"]
    difference = json.loads(clone.run("dvc metrics diff --json"))
    changed = difference["reports/metrics.json"]
    assert any(c["diff"] for c in changed.values() if "diff" in c)
    clone.run("git checkout -q . && dvc checkout -q")


def test_force_gives_the_same_bytes(clone: Clone) -> None:
    before = (clone.folder / "dvc.lock").read_text()
    stages = [
        "prepare",
        "encode@text",
        "train",
        "study@none",
        "study@frozen",
        "newcomers",
        "report",
    ]
    output = clone.run(f"dvc repro --force --single-item {' '.join(stages)}", forked=False)
    assert stages_run(output) == stages
    assert (clone.folder / "dvc.lock").read_text() == before


def recipes() -> dict[str, str]:
    """README's code under "Extend it": the file that each block names → its content."""
    text = (REPOSITORY / "README.md").read_text().split("## Extend it")[1].split("\n## ")[0]
    blocks = re.findall(r"```(?:python|yaml)\n# ([\w/.]+)[^\n]*\n(.*?)```", text, flags=re.S)
    return dict(blocks)


def test_the_recipes_work_as_they_stand(clone: Clone) -> None:
    """A system, a closed form, a metric, two modalities: with README's files, and no others."""
    found = recipes()
    assert set(found) == {
        "model/systems/weighted.py", "model/systems/damped.py", "model/metrics.py",
        "encoders/lyrics.py", "params.yaml",
    }  # fmt: skip
    clone.run("git add -A && git commit -q --allow-empty -m before")
    for name, content in found.items():
        path = clone.folder / name
        if name == "params.yaml":
            text = path.read_text()
            path.write_text(text.replace("encode:\n", "encode:\n" + content, 1))
        else:
            path.write_text((path.read_text() + "\n\n" if path.exists() else "") + content)
    touched = clone.run("git status --short").split()[1::2]
    assert set(touched) == set(found)
    dataset = clone.folder / "data/raw/small"
    header, *rows = (dataset / "items.csv").read_text().splitlines()
    rows = [f"{row},sing of {row[-1]}" for row in rows]
    (dataset / "items.csv").write_text("\n".join([f"{header},lyrics", *rows]) + "\n")
    (dataset / "features").mkdir()
    np.save(dataset / "features/genres.npy", np.eye(30, 5, dtype=np.float32))
    set_params(clone, ["'study.systems=[none,weighted,damped]'", "'study.layers=[0]'",
                       "fusion=weighted"])  # fmt: skip
    clone.run("dvc repro")
    summary = json.loads((clone.folder / "data/prepared/summary.json").read_text())
    assert list(summary["modalities"]) == ["text", "image", "audio", "video", "lyrics", "genres"]
    assert summary["modalities"]["genres"]["items"] == 30
    with safe_open(clone.folder / "data/models/recommender.safetensors", "np") as file:
        described = json.loads(file.metadata()["recommender"])
    assert described["modalities"] == ["text", "lyrics", "genres"]
    assert described["split"] == summary["split"] and described["dataset"] == summary["dataset"]
    assert described["parameters"]["options.weight"] == 2.0
    # Two seeds, as it is and under three controls; a closed form without content has none.
    for system, models in {"weighted": 2 * 4, "damped": 1}.items():
        results = (clone.folder / f"data/study/{system}/results.csv").read_text()
        # A row for each of two splits, eleven metrics and the two cut-offs below 15 of 30 items.
        assert len(results.splitlines()) == 1 + models * 2 * 11 * 2
        assert results.count('"f1"') == models * 2 * 2
    page = (clone.folder / "reports/report.md").read_text()
    assert all(word in page for word in ("weighted", "damped", "F1", "lyrics", "genres"))
