"""Items that came after training: their content, encoded as the catalogue's was."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike, NDArray

from encoders import encoder_class, encoders_of, modalities, takes_text
from encoders.base import Encoder
from encoders.media import MediaError
from encoders.media.text import shows
from encoders.precision import check_precision
from encoders.weights import BUNDLED, PRETRAINED, RANDOM, WeightsError
from model.dataset import Modality
from pipeline.catalogue.embeddings import metadata_of
from pipeline.catalogue.feature_files import (
    feature_rows,
    find_features,
    modalities_without_encoder,
    suspect_features,
)
from pipeline.catalogue.problems import Problems
from pipeline.catalogue.raw import read_items
from pipeline.catalogue.ready_made import read_features
from pipeline.catalogue.titles import TITLES, title_of
from pipeline.catalogue.workspace import Workspace
from pipeline.common.device import resolve_device
from pipeline.common.files import InputError, inside
from pipeline.encoding.decoding import listened
from pipeline.encoding.network import encode_each
from pipeline.encoding.workers import Pool

SECONDS = 60.0  # that decoding a file may take
BATCH = 16  # items that are decoded and encoded together


@dataclass(frozen=True)
class NewItem:
    """An item that is not in the catalogue.

    Attributes:
        item_id: an id that the catalogue does not have.
        content: modality → its text, the path of its file, or a vector as an encoder makes them.
        title: what it is called; empty for the first words of its text, or its id.
    """

    item_id: str
    content: Mapping[str, str | Path | ArrayLike] = field(default_factory=dict)
    title: str = ""

    @property
    def shown(self) -> str:
        """What it is called, in one line."""
        text = self.content.get("text")
        return title_of(self.item_id, [self.title or None], text if isinstance(text, str) else None)


class ContentEncoders:
    """The encoders that made a catalogue's embeddings, each loaded when it is first needed.

    Args:
        workspace: whose embeddings say by what they were made.
        device: auto, cpu or cuda.
    """

    def __init__(self, workspace: Workspace, device: str = "auto") -> None:
        self.workspace, self.device = workspace, resolve_device(device)
        self._loaded: dict[str, Encoder] = {}

    def metadata(self, modality: str) -> dict[str, str]:
        """What a modality's embeddings say of where they come from."""
        if modality not in self.workspace.modalities:
            there = ", ".join(self.workspace.modalities) or "none"
            raise InputError(f"no item of the catalogue has {modality!r}; valid: {there}")
        return metadata_of(self._schema(modality))

    def width(self, modality: str) -> int:
        """Numbers in one of its vectors."""
        return int(self._schema(modality).field("embedding").type.list_size)

    def _schema(self, modality: str) -> pa.Schema:
        return pq.read_schema(self.workspace.source(self.workspace.embeddings[modality]))

    def encode(self, items: Sequence[NewItem]) -> list[Modality]:
        """Their content: each modality that one of them has, over all of them.

        Raises:
            InputError: an item has no content, or one that cannot be read; a modality is not the
                catalogue's, or has no encoder; the weights are not those of the catalogue.
        """
        for item in items:
            if not item.content:
                raise InputError(f"item {item.item_id!r}: a new item is known by its content alone")
        names = dict.fromkeys(name for item in items for name in item.content)
        found = []
        for name in names:
            having = [n for n, item in enumerate(items) if name in item.content]
            vectors = self._vectors(name, [items[n] for n in having])
            table = np.zeros((len(items), vectors.shape[1]), np.float32)
            table[having] = vectors
            present = torch.zeros(len(items), dtype=torch.bool)
            present[having] = True
            found.append(Modality(name, torch.from_numpy(table), present))
        return found

    def _vectors(self, modality: str, items: Sequence[NewItem]) -> NDArray[np.float32]:
        """(n, w): given as vectors, or encoded."""
        metadata, width = self.metadata(modality), self.width(modality)
        result = np.empty((len(items), width), np.float32)
        raw: list[int] = []
        for n, item in enumerate(items):
            given = item.content[modality]
            if isinstance(given, str | Path):
                raw.append(n)
                continue
            try:
                result[n] = _vector(given, width)
            except ValueError as error:
                raise InputError(f"item {item.item_id!r}: {modality}: {error}") from error
        if raw:
            result[raw] = self._encoded(modality, metadata, [items[n] for n in raw])
        return result

    def _encoded(
        self, modality: str, metadata: Mapping[str, str], items: Sequence[NewItem]
    ) -> NDArray[np.float32]:
        encoder = self._encoder(modality, metadata)
        cls = type(encoder)
        for item in items:
            if cls.takes_text and not isinstance(item.content[modality], str):
                raise InputError(
                    f"item {item.item_id!r}: {modality}: it is taken as str, not a path"
                )
        found: list[NDArray[np.float32]] = []
        for results in prepared(cls, modality, items):
            batch = items[len(found) : len(found) + len(results)]
            for item, (_, reason) in zip(batch, results, strict=True):
                if reason:
                    raise InputError(f"item {item.item_id!r}: {modality}: {reason}")
            vectors = encode_each(encoder, [result for result, _ in results])
            for item, vector in zip(batch, vectors, strict=True):
                if isinstance(vector, str):
                    raise InputError(f"item {item.item_id!r}: {modality}: {vector}")
                found.append(vector)
        return np.stack(found)

    def _encoder(self, modality: str, metadata: Mapping[str, str]) -> Encoder:
        """The one that made the catalogue's vectors, with the same weights."""
        if modality in self._loaded:
            return self._loaded[modality]
        name = metadata.get("encoder")
        if name is None or name not in encoders_of(modality):
            raise InputError(
                f"{modality}: the catalogue's vectors are ready-made; a new item needs one of its "
                "own, of the same kind"
            )
        source, precision = metadata["weights"], metadata.get("precision", "fp32")
        weights = BUNDLED if source == RANDOM else source
        if weights not in (BUNDLED, PRETRAINED):
            weights = str(Path(source).parent)
        try:
            check_precision(precision, self.device)
        except ValueError:
            precision = "fp32"  # of a GPU that is not here: the same vectors but for rounding
        try:
            encoder = encoder_class(name)(weights, self.device, precision)
        except WeightsError as error:
            raise InputError(f"{modality}: {error}") from error
        expected, there = metadata.get("weights_sha256", ""), encoder.loaded.sha256
        if there != expected:
            raise InputError(
                f"{modality}: the catalogue was encoded with weights of sha256 {expected}, here "
                f"they have {there}; run `dvc repro`"
            )
        self._loaded[modality] = encoder
        return encoder


def _vector(given: ArrayLike, width: int) -> NDArray[np.float32]:
    """(width,) as given. ValueError if it is no vector of that many finite numbers."""
    needed = f"a vector of {width} finite numbers is needed"
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(given).astype(np.float32, casting="same_kind")
    except (TypeError, ValueError, RuntimeError) as error:  # torch's, of a tensor on a GPU, too
        raise ValueError(f"{needed}: {error}") from error
    if vector.shape != (width,):
        raise ValueError(f"{needed}; its shape is {vector.shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{needed} as float32")
    return vector


def prepared(
    cls: type[Encoder], modality: str, items: Sequence[NewItem]
) -> Iterator[list[tuple[Any, str]]]:
    """Each item's content as the encoder takes it, or why there is none; files in processes.

    `BATCH` at a time, so that memory holds no more of what is decoded.
    """
    sources = [str(item.content[modality]) for item in items]
    batches = [sources[first : first + BATCH] for first in range(0, len(sources), BATCH)]
    if cls.takes_text:
        for batch in batches:
            yield [_or_reason(functools.partial(listened, cls, source)) for source in batch]
        return
    with Pool(functools.partial(listened, cls), SECONDS) as pool:
        for batch in batches:
            futures = [pool.submit(Path(source)) for source in batch]
            yield [_or_reason(future.result) for future in futures]


def _or_reason(call: Any) -> tuple[Any, str]:
    try:
        return call()[0], ""
    except MediaError as error:
        return None, str(error)


def read_new_items(folder: Path) -> list[NewItem]:
    """The items of a folder in the raw layout (README): `items.*`, media, `features/`.

    As in a catalogue, features stand in place of media; rows that are not finite count as missing.
    InputError with all that is wrong with its table, or with a file of features.
    """
    problems = Problems()
    named: dict[str, str] = {}
    made: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as spool, read_items(folder, problems, Path(spool)) as items:
        suspect_features(folder, problems)
        problems.refuse()
        known = ("item_id", *TITLES, *modalities())  # the first: no columns, no rows
        columns = [name for name in known if name in items.columns]
        for ids, _, table in items.batches(columns):
            for item_id, row in zip(ids.to_pylist(), table.to_pylist(), strict=True):
                content = made.setdefault(item_id, {})
                for name in modalities():
                    value = row.get(name)
                    if value is not None and shows(value):
                        content[name] = value if takes_text(name) else _file(folder, item_id, value)
                titles = [str(row[t]) for t in TITLES if row.get(t) is not None]
                named[item_id] = next(filter(shows, titles), "")
        for name in (*modalities(), *modalities_without_encoder(folder)):
            if (path := find_features(folder, name)) is None:
                continue
            for content in made.values():
                content.pop(name, None)  # features stand in place of media
            ids, rows = feature_rows(path, items)
            for item_id, vector in zip(ids.to_pylist(), read_features(path)[rows], strict=True):
                if np.isfinite(vector).all():
                    made[item_id][name] = vector
    return [NewItem(item_id, content, named[item_id]) for item_id, content in made.items()]


def _file(folder: Path, item_id: str, name: str) -> Path:
    try:
        return folder / inside(name)
    except ValueError as error:
        raise InputError(f"{folder}: item {item_id!r}: {error}") from error


def joined(content_of: Callable[[], list[Modality]], more: Sequence[Modality]) -> list[Modality]:
    """The content of a catalogue's items and of m others behind them."""
    own, others = content_of(), {modality.name: modality for modality in more}
    m, result = len(more[0].present), []
    for modality in own:
        width = modality.vectors.shape[1]
        nothing = Modality(modality.name, torch.zeros(m, width), torch.zeros(m, dtype=torch.bool))
        added = others.get(modality.name, nothing)
        vectors = torch.cat([modality.vectors, added.vectors])
        present = torch.cat([modality.present, added.present])
        result.append(Modality(modality.name, vectors, present))
    return result
