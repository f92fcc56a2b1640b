"""Every system, by the name of its module: parameter value = module = DVC item = label.

A module here is a system: adding one is adding a file. It holds a dataclass `Options`, what the
system reads of params.yaml, and one class that fulfils `model.system.System`.
"""

from __future__ import annotations

import ast
import pkgutil
from functools import cache
from pathlib import Path
from typing import cast

from model import config
from model.config import SystemOptions

FIRST = ("none", "frozen", "alpha", "unfrozen", "normalized", "equal", "early", "mmlgcn", "vbpr",
         "mmgcn", "lattice")  # fmt: skip
"""The paper's, in its order."""


def _place(name: str) -> tuple[int, str]:
    return FIRST.index(name) if name in FIRST else len(FIRST), name


SYSTEMS = tuple(sorted((module.name for module in pkgutil.iter_modules(__path__)), key=_place))
"""The names of all systems: the paper's first, then others by name."""


def module_of(name: str) -> str:
    """The module of a system."""
    return f"{__name__}.{name}"


@cache
def options_class(name: str) -> type[SystemOptions]:
    """What a system declares to read.

    It is taken from the module's source, where it may use what `model.config` has: importing the
    module imports torch, which takes longer than all else that checking params.yaml does.
    """
    path = Path(__path__[0], f"{name}.py")
    statements = ast.parse(path.read_bytes()).body
    found = [s for s in statements if isinstance(s, ast.ClassDef) and s.name == "Options"]
    if len(found) != 1:
        raise TypeError(f"{path}: a class Options is needed, which says what the system reads")
    namespace = vars(config) | {"__name__": module_of(name)}
    try:
        exec(compile(ast.Module([*found], []), path, "exec", dont_inherit=True), namespace)  # noqa: S102
    except NameError as error:
        raise TypeError(
            f"{path}: Options uses {error.name}; it may use what model.config has, and no other "
            "name of its module"
        ) from error
    return cast("type[SystemOptions]", namespace["Options"])
