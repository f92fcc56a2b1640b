"""Pruning keeps what the present workspace uses, and nothing else of models and leftovers."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small import write_workspace

from pipeline.catalogue.workspace import Workspace
from pipeline.common import params, paths
from pipeline.common.files import InputError
from pipeline.experiments import kept
from pipeline.experiments.cells import cell_of, cell_path, fit_path
from pipeline.experiments.experiment import Experiment

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Params:
    """A prepared workspace whose params.yaml asks for five small cells."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    whole = params.load(ROOT / "params.yaml")
    made = replace(
        whole, device="cpu", fusion="alpha", layers=3, seed=7,
        train=replace(whole.train, dimension=4, epochs=1),
        study=replace(whole.study, systems=["none", "frozen"], layers=[1], seeds=[1, 2]),
    )  # fmt: skip
    monkeypatch.setattr(kept, "load", lambda: made)
    return made


def test_a_refit_and_its_strict_part(
    project: params.Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(project, protocol="refit")
    for asked in (again, project):
        monkeypatch.setattr(kept, "load", lambda asked=asked: asked)
        cell = cell_of(Experiment.of(again, "alpha", 3, 7), Workspace())
        strict = cell_of(cell.experiment.strict, Workspace())
        assert cell.path != strict.path
        kept.prune()
        assert strict.path.exists() and cell.path.exists() == (asked is again)


def test_cells_fits_and_leftovers(project: params.Params) -> None:
    asked = [
        ("alpha", 3, 7), *((v, 1, s) for v in ("none", "frozen") for s in (1, 2)),
        ("frozen", 1, 2, "placebo"),
    ]  # fmt: skip
    others = [("alpha", 1, 7), ("none", 1, 3), ("frozen", 2, 1), ("frozen", 1, 3, "placebo")]
    used, dropped = (
        [cell_of(Experiment.of(project, *each), Workspace()).path for each in cells]
        for cells in (asked, others)
    )
    prints = [Experiment.of(project, *e).fingerprint(Workspace()) for e in (asked[0], others[0])]
    under_way, orphan = map(fit_path, prints)
    killed = paths.CELLS / ".x.safetensors.abc", paths.FITS / ".y.safetensors.def"
    writing = paths.CELLS / ".z.safetensors.ghi"
    for path in (under_way, orphan, *killed, writing):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"state")
    for path in killed:
        os.utime(path, (time.time() - 3600,) * 2)
    kept.show()
    kept.prune()
    left = {p for folder in (paths.CELLS, paths.FITS) for p in folder.iterdir()}
    costs = {path.with_suffix(".json") for path in used}
    assert left == {*used, *costs, under_way, writing}
    assert not any(path.exists() for path in dropped)
    assert not any(cell_of(Experiment.of(project, *each), Workspace()).fresh for each in asked)


@pytest.mark.parametrize("gone", [paths.ITEMS, paths.embeddings_path("audio")])
def test_a_half_built_workspace_loses_nothing(
    project: params.Params, gone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """DVC removes what a stage writes before it runs: who stops it has not got it any more."""
    path = cell_of(Experiment.of(project, "none", 1, 1), Workspace()).path
    assert path == cell_path(Experiment.of(project, "none", 1, 1).fingerprint(Workspace()))
    gone.unlink()
    with pytest.raises(InputError, match=f"{gone} is not there: .* `dvc repro` first"):
        kept.prune()
    with caplog.at_level("INFO"):
        kept.show()
    assert path.exists() and f"{gone} is not there" in caplog.messages[-2]
    assert "1 fitted models" in caplog.messages[-1] and "unused" not in caplog.messages[-1]


@pytest.mark.usefixtures("project")
def test_what_was_set_aside_goes_too() -> None:
    paths.VECTORS.mkdir(parents=True)
    for name in ("a.sqlite", "a.sqlite.broken", "b.sqlite.broken"):
        (paths.VECTORS / name).write_bytes(b"no database")
    kept.prune()
    assert list(paths.VECTORS.iterdir()) == []
