"""params.yaml, read and checked in one place: every key and value, before any work is done."""

import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from encoders import encoders_of, modalities
from encoders.precision import PRECISIONS
from model.config import (
    AGGREGATES,
    LAYERS,
    PROJECTIONS,
    PROPAGATIONS,
    PROTOCOLS,
    REFIT,
    SEED,
    VALIDATED,
    OneOf,
    Range,
    SystemOptions,
    Train,
    flatten,
    keys_read,
)
from model.controls import ABLATIONS, CONTROLS
from model.systems import SYSTEMS, options_class
from pipeline.common import paths
from pipeline.common.files import InputError

PARAMS = Path("params.yaml")
WEIGHTS = ("bundled", "pretrained")
SPLIT_KINDS = ("random", "temporal", "temporal_global", "leave_one_out", "cold_items")


@dataclass(frozen=True)
class Sample:
    """The bundled synthetic catalogue."""

    seed: Annotated[int, SEED]
    users: Annotated[int, Range(1)]
    items: Annotated[int, Range(1)]
    interactions_per_user: Annotated[int, Range(4)]


@dataclass(frozen=True)
class Prepare:
    """What of a catalogue counts, and how it is divided."""

    seed: Annotated[int, SEED]
    split: Annotated[str, OneOf(SPLIT_KINDS)]
    validation: Annotated[float, Range(0, 0.9)]
    test: Annotated[float, Range(0, 0.9)]
    min_rating: Annotated[float | None, Range(-math.inf)] = None
    k_core: Annotated[int, Range(0)] = 0
    max_failures: Annotated[float, Range(0, 1)] = 0.5


@dataclass(frozen=True)
class Encode:
    """One modality's encoder."""

    encoder: str
    batch_size: Annotated[int, Range(1)]
    precision: Annotated[str, OneOf(("auto", *PRECISIONS))]
    time_limit: Annotated[float, Range(0, 86_400, above=True)]
    max_failures: Annotated[float, Range(0, 1)]


@dataclass(frozen=True)
class Study:
    """What is compared: each system over layers and seeds, as far as it reads them."""

    systems: list[Annotated[str, OneOf(SYSTEMS)]]
    layers: list[Annotated[int, LAYERS]]
    seeds: list[Annotated[int, SEED]]
    controls: tuple[Annotated[str, OneOf(tuple(CONTROLS))], ...] = ()
    ablations: tuple[Annotated[str, OneOf(tuple(ABLATIONS))], ...] = ()
    processes: Annotated[int | None, Range(1)] = None


@dataclass(frozen=True)
class Newcomers:
    """What is held out of fitting, to come afterwards."""

    systems: list[Annotated[str, OneOf(SYSTEMS)]]
    items: Annotated[float, Range(0, 0.5)]
    users: Annotated[float, Range(0, 0.5)]
    seed: Annotated[int, SEED]


@dataclass(frozen=True)
class Params:
    """The whole of params.yaml; field names are its keys."""

    dataset: str
    fusion: Annotated[str, OneOf(SYSTEMS)]
    aggregate: Annotated[str, OneOf(AGGREGATES)]
    layers: Annotated[int, LAYERS]
    propagation: Annotated[str, OneOf(PROPAGATIONS)]
    projection: Annotated[str, OneOf(PROJECTIONS)]
    protocol: Annotated[str, OneOf(PROTOCOLS)]
    weights: str
    seed: Annotated[int, SEED]
    device: Annotated[str, OneOf(("auto", "cpu", "cuda"))]
    sample: Sample
    prepare: Prepare
    encode: dict[str, Encode]
    train: Train
    systems: dict[str, SystemOptions]
    study: Study
    newcomers: Newcomers = Newcomers(["popularity"], 0, 0, 0)
    world_size: Annotated[int, Range(1)] = 1
    engine: Annotated[str, OneOf(("local", "ray"))] = "local"

    def shared(self) -> dict[str, Any]:
        """Dotted key → value of what several systems read, to whom `REFIT` is `VALIDATED`."""
        names = ("aggregate", "layers", "projection", "propagation", "protocol", "seed")
        values = {name: getattr(self, name) for name in names} | flatten(self.train, "train.")
        return values | ({"protocol": VALIDATED} if self.protocol == REFIT else {})

    def unread(self, system: str) -> list[str]:
        """The keys that `system` does not read under these values; a group for all its keys."""
        shared = self.shared()
        left = sorted(shared.keys() - keys_read(self.systems[system], shared))
        if self.protocol == REFIT:  # every system is fitted once more
            left = [key for key in left if key != "protocol"]
        content = [key for key in shared if key.startswith("train.content.")]
        if set(content) <= set(left):
            left = sorted({*left, "train.content"} - {*content})
        options = self.systems[system]
        own = {field.name for field in fields(options)} - options.own_read()
        return left + [f"systems.{system}.{name}" for name in sorted(own)]


def load(path: Path = PARAMS) -> Params:
    """Read and check `path`. InputError names the key, what it holds and what is valid."""
    params: Params = _build(Params, read_yaml(path), "")
    _check_across(params)
    return params


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, unchecked. InputError if it is not there or no YAML."""
    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise InputError(f"{path} is not here; run from the repository's root") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path}: not readable: {(error.strerror or str(error)).lower()}"
        ) from error
    except (YAMLError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _check_across(params: Params) -> None:
    if not params.dataset.strip():
        valid = "a folder, such as data/raw/my-shop, or an address"
        raise _invalid("dataset", params.dataset, [valid])
    share = params.prepare.validation + params.prepare.test
    if share >= 1:
        raise InputError(
            f"{PARAMS}: prepare.validation + prepare.test is {share}; below 1 is valid, "
            "the rest is for training"
        )
    deepest, given = max(params.layers, *params.study.layers), params.train.layer_weights
    if given and len(given) <= deepest:
        raise _invalid(
            "train.layer_weights",
            list(given),
            [f"[], or {deepest + 1} weights for {deepest} layers"],
        )
    shallowest = min(params.layers, *params.study.layers)
    if given and not any(given[: shallowest + 1]):
        raise _invalid(
            "train.layer_weights",
            list(given),
            [f"one above 0 among the first {shallowest + 1}, for {shallowest} layers"],
        )
    for system, options in params.systems.items():
        if options.composed and not options.parts:  # type: ignore[attr-defined]
            raise _invalid(f"systems.{system}.parts", [], ["at least one part"])
    reason = params.systems[params.fusion].undivided
    if params.world_size > 1 and reason:
        able = [name for name in SYSTEMS if not options_class(name).undivided]
        raise InputError(
            f"{PARAMS}: world_size: {params.world_size} processes cannot fit {params.fusion}: "
            f"{reason}; valid: 1, or one of these as fusion: {', '.join(able)}"
        )
    for modality, entry in params.encode.items():
        if entry.encoder not in encoders_of(modality):
            raise _invalid(f"encode.{modality}.encoder", entry.encoder, encoders_of(modality))
    if params.weights not in WEIGHTS and not _watched(Path(params.weights)):
        folder = f"a folder with <encoder>.safetensors in {paths.WEIGHTS}, which DVC watches"
        raise _invalid("weights", params.weights, [*WEIGHTS, f"{folder}, and no link"])


def _watched(folder: Path) -> bool:
    """Whether `folder` is one whose content the stages depend on."""
    # As it was named, and where it really is: what is behind a linked folder DVC does not see.
    inside = folder.absolute().is_relative_to(paths.WEIGHTS.absolute())
    really = folder.resolve().is_relative_to(paths.WEIGHTS.resolve())
    return inside and really and ".." not in folder.parts and folder.is_dir()


def _build(cls: Any, raw: Any, key: str) -> Any:
    """Dataclass `cls` from the mapping `raw` found at `key`."""
    if not isinstance(raw, Mapping):
        raise InputError(f"{PARAMS}: {key or 'the file'} must be a mapping of keys, not {raw!r}")
    names = [f.name for f in fields(cls)]
    _refuse_unknown(raw, names, key)
    missing = [f.name for f in fields(cls) if f.default is MISSING and f.name not in raw]
    if missing:
        raise InputError(f"{PARAMS}: missing {', '.join(_join(key, n) for n in missing)}")
    hints = typing.get_type_hints(cls, include_extras=True)
    given = [name for name in names if name in raw]
    return cls(**{name: _value(hints[name], raw[name], _join(key, name)) for name in given})


KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _value(hint: Any, raw: Any, key: str) -> Any:
    """`raw` checked against its type hint and the `OneOf` or `Range` that annotates it."""
    if is_dataclass(hint):
        return _build(hint, raw, key)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        value, rule = _value(arguments[0], raw, key), arguments[1]
        if isinstance(rule, OneOf) and value not in rule.choices:
            raise _invalid(key, value, rule.choices)
        if isinstance(rule, Range) and value is not None and value not in rule:
            raise _invalid(key, value, [str(rule)])
        return value
    if origin is types.UnionType:  # X | None
        return None if raw is None else _value(arguments[0], raw, key)
    if origin is dict and arguments[1] is SystemOptions:
        if not isinstance(raw, Mapping):
            raise _invalid(key, raw, ["a mapping from systems to their parameters, or {}"])
        _refuse_unknown(raw, SYSTEMS, key)  # what is not given has the system's default
        return {s: _build(options_class(s), raw.get(s, {}), _join(key, s)) for s in SYSTEMS}
    if origin is dict:
        if not isinstance(raw, Mapping):
            raise _invalid(key, raw, [f"a mapping with {', '.join(modalities())}"])
        _refuse_unknown(raw, modalities(), key)
        if absent := [m for m in modalities() if m not in raw]:
            raise InputError(f"{PARAMS}: missing {', '.join(_join(key, m) for m in absent)}")
        return {m: _value(arguments[1], raw[m], _join(key, m)) for m in modalities()}
    if origin is tuple:
        if not isinstance(raw, list):
            raise _invalid(key, raw, ["a list, [] for the default"])
        values = [_value(arguments[0], value, key) for value in raw]
        if all(isinstance(value, str) for value in values) and len(set(values)) < len(values):
            raise _invalid(key, raw, ["each value once"])
        return tuple(values)
    if origin is list:
        if not isinstance(raw, list) or not raw:
            raise _invalid(key, raw, ["a list of at least one value"])
        values = [_value(arguments[0], value, key) for value in raw]
        if len(set(values)) < len(values):
            raise _invalid(key, raw, ["each value once"])
        return values
    if hint is float and type(raw) is int:
        if abs(raw) > sys.float_info.max:
            raise _invalid(key, raw, [KINDS[float]])
        return float(raw)
    if type(raw) is not hint:
        raise _invalid(key, raw, [KINDS[hint]])
    return raw


def _refuse_unknown(raw: Mapping[Any, Any], names: typing.Iterable[str], key: str) -> None:
    names = list(names)
    for name in raw:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"{PARAMS}: unknown key {_join(key, name)}{hint}; valid: {', '.join(names)}"
            )


def _invalid(key: str, value: Any, valid: typing.Iterable[str]) -> InputError:
    return InputError(f"{PARAMS}: {key}: {value!r} is not valid; valid: {', '.join(valid)}")


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)
