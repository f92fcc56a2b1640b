"""An own catalogue under DVC: README's section, to the letter, in a temporary clone."""

import re
from typing import Any

import pytest
from cloning import REPOSITORY, Clone, make_clone, set_params, stages_run, write_catalogue
from dvc.api import metrics_show

SAMPLE = "data/raw/dvc.yaml:sample"
SMALL = [
    "dataset=data/raw/small", "sample.items=8", "sample.users=4", "train.dimension=8",
    "train.epochs=15", "study.systems=[popularity]", "study.layers=[0]", "study.seeds=[1]",
]  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose branch has the results of one catalogue; a second one lies beside it."""
    made = make_clone(tmp_path_factory.mktemp("living") / "repository")
    write_catalogue(made.folder / "data/raw/small")
    write_catalogue(made.folder / "data/raw/my-shop", stride=1)
    set_params(made, SMALL)
    made.run("dvc repro")
    made.run("git add -A && git commit -q -m small")
    return made


def test_the_sample_is_written_only_where_it_is_the_catalogue(clone: Clone) -> None:
    assert not (clone.folder / "data/raw/sample").exists()
    clone.run("echo '# edited' >> pipeline/sample.py")
    assert stages_run(clone.run("dvc repro")) == []
    clone.run("git checkout -q .")
    set_params(clone, ["dataset=data/raw/sample"])
    assert stages_run(clone.run("dvc repro prepare")) == [SAMPLE, "prepare"]
    clone.run("git checkout -q . && rm -r data/raw/sample && dvc repro")


def commands() -> list[str]:
    """README's commands under "Your catalogue and DVC", without their comments."""
    section = (REPOSITORY / "README.md").read_text().split("### Your catalogue and DVC")[1]
    blocks = re.findall(r"```sh\n(.*?)```", section.split("\n## ")[0], flags=re.S)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


def metrics(clone: Clone, revision: str | None = None) -> dict[str, Any]:
    """What reports/metrics.json says, in the workspace or in an experiment."""
    return metrics_show(repo=str(clone.folder), rev=revision)


def changes(output: str) -> set[str]:
    """The column Change of what `dvc metrics diff` printed."""
    return {line.split()[-1] for line in output.splitlines() if line.startswith("reports/")}


def test_the_commands_of_the_section(clone: Clone) -> None:
    ahead = metrics(clone)
    assert list(ahead) == ["small"]
    first: dict[str, Any] = {}
    for command in commands():
        before = clone.run("git status --porcelain")
        output = clone.run(command)
        after = clone.run("git status --porcelain")
        match command.split():
            case ["dvc", "add", folder]:
                assert after == f"?? {folder}.dvc\n"
            case ["git", "commit" | "restore", *_]:
                assert after == ""
            case ["dvc", "metrics", "diff", "my-shop", _]:  # one catalogue
                assert changes(output) and "-" not in changes(output)
            case ["dvc", "metrics", "diff", *_]:  # two
                assert "my-shop.test.ndcg@10" in output and "small.test.ndcg@10" in output
                assert changes(output) == {"-"}
            case ["dvc", "exp", "run", "-n", "my-shop", *_]:
                assert stages_run(output) == ["prepare", "train"]  # the texts are encoded already
                first = metrics(clone)
                assert list(first) == ["my-shop"]
            case ["dvc", "exp", "run", "-n", *_]:
                assert stages_run(output) == ["train"]  # of my-shop: it stays in params.yaml
            case ["dvc", "exp", "show", *_]:
                assert all(f"[my-shop{end}]" in output for end in ("", "-none", "-ease"))
                head = next(line.split() for line in output.splitlines() if "Experiment" in line)
                numbers = ["my-shop.test.ndcg@10", "my-shop.validation.ndcg@10"]
                assert head == ["Experiment", *numbers, "fusion", "layers"]
                assert max(map(len, output.splitlines())) <= 120
            case ["dvc", "plots", "diff", *revisions]:
                page = (clone.folder / "dvc_plots/index.html").read_text()
                assert all(f'"rev": "{revision}"' in page for revision in revisions)
                assert '"field": "ndcg@10"' in page and after == before
            case ["python", "-m", "pipeline.compare", *_]:
                assert "A  my-shop: frozen" in output and "B  my-shop-normalized: norm" in output
                assert "users cannot tell" in output or " is better: " in output
            case ["dvc", "repro"]:
                assert stages_run(output) == [] and after == "" and metrics(clone) == ahead
            case ["dvc", "exp", "apply", "my-shop"]:
                assert metrics(clone) == first
            case _:
                assert after == before or command.startswith("git add")
    for fusion in ("none", "ease"):  # --temp and --queue computed what the workspace computes
        set_params(clone, [f"fusion={fusion}"])
        clone.run("python -m pipeline.train")
        assert metrics(clone) == metrics(clone, f"my-shop-{fusion}") != first
