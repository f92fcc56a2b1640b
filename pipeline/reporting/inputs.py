"""Everything that a report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.config import PUBLISHED, REFIT
from pipeline.common.params import Params
from pipeline.experiments.results import Row, Study
from pipeline.reporting.slicing import Relations


@dataclass(frozen=True)
class Vectors:
    """Some items' vectors, to be drawn as a map.

    Attributes:
        name: of what made them.
        items: their ids.
        labels: what they are about, such as a genre; None where the catalogue does not say.
        vectors: (n, d).
    """

    name: str
    items: list[str]
    labels: list[str | None] | None
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """What the earlier stages wrote, and the parameters that they were run with.

    Attributes:
        params: the parameters, checked.
        parameters: params.yaml as it stands.
        summary: `data/prepared/summary.json`.
        embeddings: modality → the schema metadata of its embeddings.
        failures: modality, item_id, source and reason of what could not be encoded.
        remarks: modality, item_id, source and remark of what is damaged and was decoded in part.
        study: the numbers of all systems of the study.
        folders: system → the folder of its study, where every user's values and lists are.
        relations: who interacted with what, and what the items have.
        results: the trained model's numbers: split, metric, k, value.
        history: its history, a row an epoch.
        trained: the file of the trained model, and that of its users' values.
        vectors: what is drawn as maps: each modality's, and the trained model's items.
        newcomers: what became of users with held-out items, and of held-out users.
    """

    params: Params
    parameters: dict[str, Any]
    summary: dict[str, Any]
    embeddings: dict[str, dict[str, str]]
    failures: list[dict[str, str]]
    remarks: list[dict[str, str]]
    study: Study
    folders: dict[str, Path]
    relations: Relations
    results: list[Row]
    history: list[Row]
    trained: tuple[Path, Path]
    vectors: list[Vectors]
    newcomers: tuple[pa.Table, pa.Table]

    def reads_content(self, system: str) -> bool:
        """Whether `system` reads the items' modalities, and some item has one."""
        present = any(int(metadata["count"]) for metadata in self.embeddings.values())
        return present and self.params.systems[system].content

    @property
    def early_stopping(self) -> bool:
        """Whether fits end when validation no longer improves."""
        return self.params.protocol != PUBLISHED and self._has_validation

    @property
    def refitted(self) -> bool:
        """Whether systems were fitted once more, on training and validation interactions."""
        return self.params.protocol == REFIT and self._has_validation

    @property
    def _has_validation(self) -> bool:
        return self.summary["interactions"].get("validation", 0) > 0
