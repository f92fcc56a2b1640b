"""The report as pages: its content set into the templates of `templates/`."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.reporting.svg import NARROW, inline, width_of
from pipeline.reporting.table import Table

if TYPE_CHECKING:
    from pipeline.reporting.sections import Figure, Report

TEMPLATES = Path(__file__).parent / "templates"
SENTENCE = 24  # characters: a longer text in a cell is no number or name
FEW = 3  # columns, which fit on a narrow page
PRINTED = 24  # columns, which fit on paper


def render(report: Report, template: str) -> str:
    """A report as one page, by the template of that name; its tables link to their files."""
    return fill(template, report=report, linked={table.name for table in report.files})


def fill(template: str, **values: Any) -> str:
    """A template with values set in; those of HTML are escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "inline": _inline, "code": _code, "cell": _cell, "slug": _slug, "wide": _wide,
        "prose": _prose,
    }  # fmt: skip
    environment.tests |= {"wide": _wide}
    environment.globals |= {"few": FEW, "printed": PRINTED}
    return environment.get_template(template).render({"linked": set()} | values)


def _inline(figure: Figure) -> Markup:
    return Markup(inline(figure.svg, figure.name, figure.alt))  # noqa: S704 - our own drawing


def _code(text: str) -> Markup:
    """`name` and **lead** in a sentence as HTML."""
    named = re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))
    return Markup(re.sub(r"\*\*(.*?)\*\*", r"<strong>\1</strong>", named))


def _cell(value: object) -> str:
    """A value as a cell of a Markdown table."""
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())


def _wide(figure: Figure) -> bool:
    """Whether a drawing takes a row of the page, not a column of it."""
    return (width_of(figure.svg) or 0) > NARROW


def _prose(table: Table) -> bool:
    """Whether a table holds sentences, so that a narrow page shows its rows as blocks."""
    cells = (value for row in table.rows for value in row[1:])
    return len(table.columns) > FEW and any(
        isinstance(value, str) and len(value) > SENTENCE for value in cells
    )
