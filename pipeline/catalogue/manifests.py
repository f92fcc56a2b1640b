"""Manifests: for each modality, which items have it and where their content is."""

import hashlib
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from encoders import takes_text
from pipeline.catalogue.ready_made import feature_rows, find_features
from pipeline.common.files import contained, sha256_of


def manifest(dataset: Path, items: pa.Table, modality: str) -> pa.Table:
    """List the items that have `modality`, sorted by item_id.

    Args:
        dataset: the raw catalogue's folder.
        items: its table of items, in the file's order.
        modality: one that has an encoder.

    Returns:
        Columns item_id, source and sha256. Source is the text itself, or the file's path relative
        to the dataset; sha256 is that of the text or of the file's bytes, so that a file that
        changes changes the manifest. It is empty where there is no readable file; the encoder then
        records the item as failed.

        Ready-made features come before raw media: source is then the row in their file, which the
        schema's metadata names, and sha256 is empty.
    """
    if features := find_features(dataset, modality):
        rows = feature_rows(features, items["item_id"].to_pylist())
        metadata = {
            "features": str(features.relative_to(dataset)),
            "features_sha256": sha256_of(features),
        }
        ids, sources = [i for i, _ in rows], [str(row) for _, row in rows]
        return _manifest_table(ids, sources, [""] * len(ids), metadata)
    column = items[modality] if modality in items.column_names else None
    if column is None:
        ids, sources = [], []
    else:
        has = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False)
        ids = items["item_id"].filter(has).to_pylist()
        sources = column.filter(has).to_pylist()
    if takes_text(modality):
        digests = [hashlib.sha256(source.encode()).hexdigest() for source in sources]
    else:
        digests = [media_sha256(dataset, source) for source in sources]
    return _manifest_table(ids, sources, digests, {})


def media_sha256(dataset: Path, source: str) -> str:
    """Hash a regular, readable file inside the dataset folder; empty for anything else."""
    try:
        path = contained(dataset, source)
        return sha256_of(path) if stat.S_ISREG(path.stat().st_mode) else ""
    except (OSError, ValueError):
        return ""


def _manifest_table(
    ids: list[str], sources: list[str], digests: list[str], metadata: dict[str, str]
) -> pa.Table:
    schema = pa.schema([(n, pa.string()) for n in ("item_id", "source", "sha256")], metadata)
    return pa.table([ids, sources, digests], schema=schema).sort_by("item_id")
