"""The report as pages: its content set into the templates of `templates/`."""

import re
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.reporting.captions import Figure
from pipeline.reporting.figures import inline
from pipeline.reporting.sections import Report

TEMPLATES = Path(__file__).parent / "templates"


def render(report: Report, template: str) -> str:
    """One page, by the template of that name."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": _inline, "code": _code, "cell": _cell, "slug": _slug}
    return environment.get_template(template).render(report=report)


def _inline(figure: Figure) -> Markup:
    return Markup(inline(figure.svg, figure.name, figure.alt))  # noqa: S704 - our own drawing


def _code(text: str) -> Markup:
    """`name` in a sentence as HTML."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False)))


def _cell(value: object) -> str:
    """A value as a cell of a Markdown table."""
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())
