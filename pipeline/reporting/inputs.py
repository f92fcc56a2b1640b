"""Everything that a report is made from."""

from dataclasses import dataclass
from typing import Any

from pipeline.common.params import Params
from pipeline.experiments.results import Row, Study


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
        results: the trained model's numbers: split, metric, k, value.
        history: its history, a row an epoch.
    """

    params: Params
    parameters: dict[str, Any]
    summary: dict[str, Any]
    embeddings: dict[str, dict[str, str]]
    failures: list[dict[str, str]]
    remarks: list[dict[str, str]]
    study: Study
    results: list[Row]
    history: list[Row]

    def reads_content(self, system: str) -> bool:
        """Whether `system` reads the items' modalities."""
        return self.params.systems[system].content
