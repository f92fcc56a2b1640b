"""dvc.yaml names all code that a stage runs, and the project works from any folder."""

import ast
import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path, PurePath

import pytest
from dvc.repo import Repo

from encoders import encoder_classes
from model.systems import SYSTEMS
from pipeline.common.files import InputError
from pipeline.common.params import load

ROOT = Path(__file__).parents[1]
PACKAGES = {"encoders", "model", "pipeline"}


def source(name: str) -> Path | None:
    """The file of one of the project's modules."""
    path = ROOT.joinpath(*name.split("."))
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    return found[0] if found and name.split(".")[0] in PACKAGES else None


@cache
def imported(name: str) -> frozenset[str]:
    """What a module's statements name, wherever they stand, but for those of type checkers."""
    tree = ast.parse(source(name).read_text())  # type: ignore[union-attr]
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }  # fmt: skip
    names = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    parents = {".".join(n.split(".")[:k]) for n in names for k in range(1, n.count(".") + 2)}
    return frozenset(n for n in parents if source(n))


def closure(*names: str) -> set[Path]:
    """The files of modules, of what they import, and of the packages on the way."""
    found: set[str] = set()
    waiting = {*names, *(n.split(".")[0] for n in names)}
    while waiting:
        found |= waiting
        waiting = {inner for n in waiting for inner in imported(n)} - found
    return {path.relative_to(ROOT) for n in found if (path := source(n))}


@pytest.fixture(scope="module")
def stages() -> dict[str, set[Path]]:
    """Stage → what dvc.yaml says that it depends on, as DVC resolves it."""
    with Repo(str(ROOT)) as repo:
        return {
            stage.name: {
                Path(dep.fs_path).relative_to(ROOT)
                for dep in stage.deps
                if Path(dep.fs_path).is_relative_to(ROOT)
            }
            for stage in repo.index.stages
        }


def entry_points(stage: str) -> list[str]:
    """The modules that a stage runs: its own, and what it looks up by a parameter's value."""
    kind, _, item = stage.partition("@")
    points = [f"pipeline.{kind}"]
    if kind == "encode":
        points += [f"encoders.{n}" for n, c in encoder_classes().items() if c.modality == item]
    elif kind == "prepare":
        points += [f"encoders.{name}" for name in encoder_classes()]
    elif kind == "study":
        points.append(f"model.systems.{item}")
    elif kind in ("train", "newcomers"):
        points += [f"model.systems.{name}" for name in SYSTEMS]
    return points


def test_every_stage_depends_on_all_code_that_it_runs(stages: dict[str, set[Path]]) -> None:
    missing = {}
    for stage, deps in stages.items():
        run = closure(*entry_points(stage))
        left = {file for file in run if not any(file.is_relative_to(dep) for dep in deps)}
        if left:
            missing[stage] = sorted(map(str, left))
    assert not missing
    assert len(stages) >= 9


def test_no_stage_depends_on_a_module_that_it_does_not_run(stages: dict[str, set[Path]]) -> None:
    needless = {}
    for stage, deps in stages.items():
        run = closure(*entry_points(stage))
        extra = {d for d in deps if d.suffix == ".py" and d not in run}
        if extra:
            needless[stage] = sorted(map(str, extra))
    assert not needless


def test_every_stage_depends_on_the_versions_of_libraries(stages: dict[str, set[Path]]) -> None:
    assert all(Path("requirements.txt") in deps for deps in stages.values())


def test_what_is_imported_at_run_time_is_in_the_closure() -> None:
    """The closure is read off the source; here is what Python says."""
    for stage in ("sample", "prepare", "encode", "train", "study", "newcomers", "report"):
        code = f"import sys, pipeline.{stage}; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        loaded = {n for n in done.stdout.split() if n.split(".")[0] in PACKAGES}
        assert {source(n).relative_to(ROOT) for n in loaded} <= closure(f"pipeline.{stage}")


def test_the_floors_hold() -> None:
    """encoders and model know neither each other nor the pipeline."""
    for folder in ("encoders", "model"):
        for path in (ROOT / folder).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            others = {n.split(".")[0] for n in imported(name.removesuffix(".__init__"))}
            assert others <= {folder}, path


def test_ready_made_features_need_no_encoder() -> None:
    files = closure("pipeline.encoding.ready_made")
    assert {path for path in files if path.parts[0] != "pipeline"} == {Path("encoders/__init__.py")}


STAGES = {"sample", "prepare", "encode", "train", "study", "newcomers", "report", "cache"}


def test_a_stage_imports_no_stage() -> None:
    """Stages stand over what they share; nothing shared reaches back up to them."""
    for path in (ROOT / "pipeline").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        above = {f"pipeline.{stage}" for stage in STAGES} & imported(name)
        assert not above, name


def test_no_file_is_long() -> None:
    for folder in ("encoders", "model", "pipeline"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def anywhere(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )


def test_the_packages_can_be_imported_from_any_folder(tmp_path: Path) -> None:
    done = anywhere(tmp_path, "-c", "import encoders, model.fusion, pipeline; print('here')")
    assert done.stdout == "here\n", f"{done.stderr}\n`make install` installs the project too"


@pytest.mark.parametrize(
    "stage", ["sample", "prepare", "encode", "train", "study", "newcomers", "report"]
)
def test_a_stage_in_another_folder_says_what_to_do(stage: str, tmp_path: Path) -> None:
    arguments = {"encode": ["text"], "study": ["none"]}.get(stage, [])
    done = anywhere(tmp_path, "-m", f"pipeline.{stage}", *arguments)
    assert done.returncode == 1
    assert done.stderr == "error: params.yaml is not here; run from the repository's root\n"


def test_weights_lie_where_dvc_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    Path("data/weights/mine").mkdir(parents=True)
    Path("elsewhere").mkdir()

    def weights(value: object) -> str:
        Path("params.yaml").write_text(text.replace("weights: bundled", f"weights: {value}"))
        return load().weights

    for good in ("pretrained", "data/weights/mine", tmp_path / "data/weights/mine"):
        assert weights(good) == str(good)
    Path("data/weights/linked").symlink_to(tmp_path / "elsewhere")
    for bad in ("elsewhere", "data/weights/none", "data/weights/../../elsewhere", tmp_path,
                "data/weights/linked"):  # fmt: skip
        with pytest.raises(InputError, match=r"weights: .* in data/weights, which DVC watches"):
            weights(bad)


def test_every_file_of_a_package_is_installed() -> None:
    """Modules are; what else a package has, pyproject.toml must name."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "package-data"
    ]
    patterns = [
        f"{name.replace('.', '/')}/{glob}" for name, globs in named.items() for glob in globs
    ]
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    data = [path for path in listed if not path.endswith(".py")]
    assert "pipeline/reporting/published.csv" in data
    assert [path for path in data if not any(map(PurePath(path).match, patterns))] == []
