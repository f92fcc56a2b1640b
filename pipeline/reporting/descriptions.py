"""Tables that describe what a run was made from: catalogue, modalities, failures, parameters."""

import sys
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pipeline.common.params import Params
from pipeline.reporting.table import Table


def dataset_table(summary: dict[str, Any]) -> Table:
    """`data/prepared/summary.json`: the catalogue in numbers (the paper's Table 1)."""
    rows = (
        ("users", summary["users"]),
        ("items", summary["items"]),
        *((f"{split} interactions", n) for split, n in summary["interactions"].items()),
        ("sparsity", summary["sparsity"]),
        ("cold items (no training interaction)", summary["cold_items"]),
        ("cold users (no training interaction)", summary["cold_users"]),
    )
    return Table("dataset", "The catalogue", ("property", "value"), rows)


def modalities_table(
    summary: dict[str, Any], embeddings: dict[str, dict[str, str]], failures: list[dict[str, str]]
) -> Table:
    """What became of every modality: items, embeddings, and where the weights come from."""
    rows = []
    for modality, metadata in embeddings.items():
        encoded = int(metadata["count"])
        rows.append(
            (
                modality,
                summary["modalities"][modality]["items"],
                encoded,
                100 * encoded / summary["items"],
                sum(failure["modality"] == modality for failure in failures),
                metadata["model"],
                int(metadata["width"]),
                _weights(metadata),
                metadata["license"],
            )
        )
    return Table(
        "modalities",
        "Items with each modality, and what encoded them",
        (
            "modality", "items", "encoded", "% of catalogue", "failures", "encoder", "width",
            "weights", "licence",
        ),
        tuple(rows),
        decimals=1,
    )  # fmt: skip


def is_random(metadata: dict[str, str]) -> bool:
    """Whether an encoder's weights are random, by the metadata of what it wrote."""
    return metadata.get("weights", "").startswith("random")


def _weights(metadata: dict[str, str]) -> str:
    source = metadata.get("weights", "not loaded: no item has this modality")
    if is_random(metadata):
        source += ", not pretrained"
    if digest := metadata.get("weights_sha256"):
        source += f"; sha256 {digest[:12]}…"
    return source


def failures_table(failures: list[dict[str, str]]) -> Table:
    """Every item of which a modality could not be encoded, and why."""
    columns = ("modality", "item_id", "source", "reason")
    rows = tuple(tuple(failure[column] for column in columns) for failure in failures)
    return Table("failures", "Items that could not be encoded", columns, rows)


def remarks_table(remarks: list[dict[str, str]]) -> Table:
    """Every item that is damaged and was decoded as far as that goes, and what was done."""
    columns = ("modality", "item_id", "source", "remark")
    rows = tuple(tuple(row[column] for column in columns) for row in remarks)
    return Table("remarks", "Items that are damaged, decoded as far as that goes", columns, rows)


def parameters_table(parameters: dict[str, Any], systems: Iterable[str]) -> Table:
    """What params.yaml says, a row a key; of the systems' own, those of `systems`."""

    def flat(value: Any, key: str) -> Iterable[tuple[str, str]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from flat(inner, f"{key}.{name}" if key else str(name))
        else:
            yield key, in_yaml(value)

    others = {f"systems.{name}" for name in parameters["systems"]} - {
        f"systems.{name}" for name in systems
    }
    rows = tuple(
        (key, value)
        for key, value in flat(parameters, "")
        if ".".join(key.split(".")[:2]) not in others
    )
    return Table("parameters", "The parameters of this run", ("parameter", "value"), rows)


def in_yaml(value: Any) -> str:
    """A value as params.yaml has it; a list without its brackets, unless it is empty."""
    if isinstance(value, list):
        return " ".join(map(in_yaml, value)) or "[]"
    words = {True: "true", False: "false", None: "null"}
    return words[value] if isinstance(value, bool | None) else str(value)


def loss_of(params: Params) -> str:
    """The ranking loss, as figures name it."""
    return {"bpr": "BPR", "softmax": "sampled softmax"}[params.train.loss]


LIBRARIES = ("torch", "transformers", "tokenizers", "torchvision", "torchaudio", "numpy",
             "pyarrow", "dvc")  # fmt: skip


def environment_table() -> Table:
    """What ran: Python and the libraries that numbers depend on."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    rows = (("python", python), *((name, version(name)) for name in LIBRARIES))
    return Table("environment", "The environment", ("what", "version"), rows)
