"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.reporting.gallery import Gallery
from pipeline.reporting.table import Table


@dataclass(frozen=True)
class Figure:
    """One drawing: `caption` says what is drawn, `alt` what it shows."""

    name: str
    caption: str
    alt: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it; the tables of `folded` are opened by who wants them."""

    title: str
    text: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)
    gallery: Gallery | None = None

    def __bool__(self) -> bool:
        """Whether there is anything but text."""
        return bool(self.figures or self.tables or self.folded or self.gallery)


@dataclass(frozen=True)
class Report:
    """The pages' content, and every table as it goes to a file."""

    subtitle: str
    sections: list[Section]
    files: list[Table]


def kept(files: list[Table], *tables: Table | None) -> list[Table]:
    """Those that are there, which become files."""
    found = [table for table in tables if table is not None and table.rows]
    files += found
    return found
