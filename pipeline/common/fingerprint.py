"""What results are remembered by: a hash of everything that they depend on, code included.

Of the code, what counts is what Python makes of it: comments, docstrings, formatting, annotations
of functions, assertions and the names of local variables (not of parameters) can change without a
new fingerprint. Everything else counts, in a module and in all that it imports from this project;
so does Python's minor version.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("encoders", "model", "pipeline")


def digest(parts: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of names and values that JSON can hold, in whatever order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def code_sha256(*modules: str, apart_from: tuple[str, ...] = ()) -> str:
    """Of the code of `modules` and of everything that they import from this project.

    Args:
        modules: dotted names.
        apart_from: modules that cannot change a result.
    """
    result = hashlib.sha256()
    for name in sorted(closure(modules) - {*apart_from}):
        tree = _Bare().visit(ast.parse(_source(name)))
        code = compile(ast.fix_missing_locations(tree), name, "exec", optimize=2)
        result.update(f"{name}\n{_essence(code)}\n".encode())
    return result.hexdigest()


def closure(modules: Collection[str]) -> set[str]:
    """`modules` and all modules of this project that they import, however indirectly.

    Imports inside functions count, those for type checkers do not. A package counts where something
    of its own is imported, not where it is merely on the way.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += imports(name)
    return found


@cache
def imports(name: str) -> tuple[str, ...]:
    """The modules of this project that a module imports itself."""
    found = []
    for node in _nodes(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _module_of(node, name)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.append(inner if _file(inner) else module)
    return tuple(dict.fromkeys(name for name in found if _file(name)))


def _module_of(node: ast.ImportFrom, name: str) -> str:
    """What `from ... import` in the module `name` reads from, dots resolved."""
    if not node.level:
        return node.module or ""
    file = _file(name)
    within = node.level - (file is not None and file.name == "__init__.py")
    package = name.split(".")[: -within or None]
    return ".".join([*package, *([node.module] if node.module else [])])


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for what stands under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _nodes(child)


def _file(name: str) -> Path | None:
    """Where the source of one of this project's modules is; None for anything else."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*name.split("."))
    found = (f for f in (path.with_name(f"{path.name}.py"), path / "__init__.py") if f.is_file())
    return next(found, None)


def _source(name: str) -> bytes:
    path = _file(name) or sys.modules[name].__file__  # an encoder or system from elsewhere
    if path is None:
        raise ModuleNotFoundError(f"module {name} has no source")
    return Path(path).read_bytes()


class _Bare(ast.NodeTransformer):
    """Drops the annotations of functions: no result depends on them."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802
        node.returns = None
        return self.generic_visit(node)


def _essence(value: Any) -> str:
    """A code object or constant as text; names of locals and line numbers are left out."""
    if isinstance(value, CodeType):
        named = value.co_argcount + value.co_kwonlyargcount
        keywords = value.co_varnames[value.co_posonlyargcount : named]  # what callers may say
        shape = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount,
                 value.co_nlocals, value.co_flags, value.co_names, keywords)  # fmt: skip
        code = value.co_code.hex(), value.co_exceptiontable.hex()
        return f"({shape} {code} {' '.join(map(_essence, value.co_consts))})"
    if isinstance(value, tuple):
        return f"({' '.join(map(_essence, value))})"
    if isinstance(value, frozenset):  # in an order of its own in every process
        return f"{{{' '.join(sorted(map(_essence, value)))}}}"
    return f"{type(value).__name__}:{value!r}"
