"""Of code, exactly what can change a result counts."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.common import fingerprint
from pipeline.common.fingerprint import closure, code_sha256, digest

BASE = '''
"""A module."""
from __future__ import annotations
from model.helper import twice
LIMIT = 0.5
NAMES = frozenset({"a", "b", "c"})

def clamp(x: float, low: float = 0.0) -> float:
    """Between low and the limit."""
    assert low <= LIMIT
    bound = max(low, x)  # from below
    return twice([v for v in (bound, LIMIT) if v in {1.0, 2.0}])
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Returns what the code of `model.main` hashes to, after replacements."""
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    files = {
        "model/__init__.py": "",
        "model/helper.py": "from model import deep\ndef twice(x):\n    return 2 * deep.one(x)\n",
        "model/deep.py": "def one(x):\n    return x\n",
        "model/other.py": "VALUE = 1\n",
        "model/main.py": BASE,
    }

    def of(*changes: tuple[str, str, str], **apart: tuple[str, ...]) -> str:
        code_sha256.cache_clear()
        fingerprint.imports.cache_clear()
        for name, text in files.items():
            for file, old, new in changes:
                if name == file:
                    assert old in text
                    text = text.replace(old, new)
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return code_sha256("model.main", **apart)

    yield of
    code_sha256.cache_clear()
    fingerprint.imports.cache_clear()


MAIN = "model/main.py"


@pytest.mark.parametrize(
    "change",
    [
        (MAIN, "  # from below", "  # never less"),
        (MAIN, '"""Between low and the limit."""', '"""Clamps."""'),
        (MAIN, '"""A module."""', '"""Another text."""\n\n\n'),
        (MAIN, "bound", "raised"),
        (MAIN, "v for v in (bound, LIMIT) if v in", "w for w in (bound, LIMIT) if w in"),
        (MAIN, "x: float, low: float = 0.0) -> float", "x, low=0.0)"),
        (MAIN, "    assert low <= LIMIT\n", ""),
        (MAIN, "max(low, x)", "(max(\n        low,\n        x,\n    ))"),
        ("model/other.py", "1", "2"),  # nobody imports it
    ],
)  # fmt: skip
def test_what_changes_no_result_does_not_count(project, change) -> None:  # type: ignore[no-untyped-def]
    assert project(change) == project()


@pytest.mark.parametrize(
    "change",
    [
        (MAIN, "0.5", "0.6"),
        (MAIN, "max(", "min("),
        (MAIN, "low: float = 0.0", "low: float = -0.0"),
        (MAIN, "{1.0, 2.0}", "{1.0, 3.0}"),
        (MAIN, "(bound, LIMIT)", "(LIMIT, bound)"),
        (MAIN, '"c"', '"d"'),
        (MAIN, "return twice", "return not twice"),
        ("model/helper.py", "2 *", "3 *"),
        ("model/deep.py", "return x", "return -x"),
        ("model/deep.py", "one(x)", "one(x, y=1)"),
    ],
)  # fmt: skip
def test_what_can_change_a_result_counts(project, change) -> None:  # type: ignore[no-untyped-def]
    assert project(change) != project()


@pytest.mark.parametrize(
    ("head", "swapped", "counts"),
    [
        ("*, x, y=1", "*, y, x=1", True),
        ("x, y=1", "y, x=1", True),
        ("x, y=1, /", "y, x=1, /", False),
    ],
)
def test_names_that_callers_may_say_count(project, head: str, swapped: str, counts: bool) -> None:  # type: ignore[no-untyped-def]
    """`one(x=2, y=3)` means something else then; by position, it does not."""
    file = "model/deep.py"
    first = project((file, "one(x)", f"one({head})"), (file, "return x", "return x - y"))
    other = project((file, "one(x)", f"one({swapped})"), (file, "return x", "return y - x"))
    assert (first != other) == counts


def test_modules_can_be_left_out(project) -> None:  # type: ignore[no-untyped-def]
    change, apart = ("model/deep.py", "return x", "return -x"), ("model.deep",)
    assert project(change, apart_from=apart) == project(apart_from=apart) != project()


def test_closure_follows_imports_of_every_form(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project()
    (tmp_path / "model/main.py").write_text(
        "from typing import TYPE_CHECKING\nimport json\nimport model.helper as h\n"
        "if TYPE_CHECKING:\n    from model import other\n"
        "def late():\n    import model.late\n"
    )
    (tmp_path / "model/late.py").write_text("from model import VALUE\n")
    fingerprint.imports.cache_clear()
    assert closure(["model.main"]) == {
        "model", "model.main", "model.helper", "model.deep", "model.late",
    }  # fmt: skip
    inner = tmp_path / "model/inner"
    inner.mkdir()
    (inner / "__init__.py").write_text("from .one import x\nfrom ..late import VALUE\n")
    (inner / "one.py").write_text("from . import two\nfrom .. import other\n")
    (inner / "two.py").write_text("from ..deep import one\n")
    fingerprint.imports.cache_clear()
    assert closure(["model.inner"]) == {
        "model", "model.inner", "model.inner.one", "model.inner.two", "model.other", "model.deep",
        "model.late",
    }  # fmt: skip


def test_every_process_gives_the_same_hash() -> None:
    """Sets of constants, too: their order differs from process to process."""
    code = (
        "from pipeline.common.fingerprint import code_sha256\n"
        "print(code_sha256('encoders.vit', 'model.fusion'))"
    )
    root = Path(__file__).parents[1]
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(printed) == 1 and len(printed.pop().strip()) == 64


def test_digest_ignores_order_and_sees_values() -> None:
    assert digest({"a": 1, "b": [2.0]}) == digest({"b": [2.0], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2}) != digest({"b": 2})
