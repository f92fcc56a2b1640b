"""What may be chosen about a system and its fitting: names and what is valid.

Free of torch: checking a parameter should not cost an import of it. What several systems read is
here; what one reads alone stands in its own module, as `Options`, a subclass of `SystemOptions`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, get_type_hints

AGGREGATES = ("mean", "sum", "max", "min", "prod", "concat", "ensemble")
PROPAGATIONS = ("bipartite", "published")
PROJECTIONS = ("fixed", "learned")
VALIDATED, PUBLISHED, REFIT = PROTOCOLS = ("validated", "published", "refit")
"""How epochs and depths are selected. Systems know no `REFIT`: it is `VALIDATED`, and then one more
fit of the same (`pipeline.experiments`)."""
LOSSES = ("bpr", "softmax")
MISSING = ("skip", "zero", "mean")
COLD_ITEMS = ("trained", "new")


@dataclass(frozen=True)
class OneOf:
    """The values that a parameter takes."""

    choices: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """The finite numbers that a parameter takes: [low, high], or (low, high] with `above`."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        low = self.low < value if self.above else self.low <= value
        return low and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low}"
        return f"{low}, finite" if self.high == math.inf else f"{low} and at most {self.high}"


Positive = Range(0, above=True)
LAYERS = Range(0, 100)  # propagation has long smoothed everything out by then
SEED = Range(0, 2**63 - 1)  # what every generator takes


def _undeclared(name: str) -> AttributeError:
    return AttributeError(f"{name} is not among what the system's Options declare to read")


class _Own(dict[str, Any]):
    """What a system reads, by key."""

    def __missing__(self, key: str) -> Any:
        raise _undeclared(key.rpartition(".")[2])


class Declared:
    """A group of parameters of which a system has those that it declares to read."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise _undeclared(name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


@dataclass(frozen=True, eq=False, repr=False)
class Content(Declared):
    """What the paper leaves open about the projected modalities (section 6)."""

    single_branch: bool
    autoencoder: Annotated[float, Range(0)]
    contrast: Annotated[float, Range(0)]
    temperature: Annotated[float, Positive]


@dataclass(frozen=True, eq=False, repr=False)
class Train(Declared):
    """The keys under `train` in params.yaml, which several systems read."""

    dimension: Annotated[int, Range(1)]
    epochs: Annotated[int, Range(1)]
    batch_size: Annotated[int, Range(1)]
    learning_rate: Annotated[float, Positive]
    regularization: Annotated[float, Range(0)]
    loss: Annotated[str, OneOf(LOSSES)]
    temperature: Annotated[float, Positive]
    negatives: Annotated[int, Range(1)]
    reject_positives: bool
    cold_items: Annotated[str, OneOf(COLD_ITEMS)]
    id_dropout: Annotated[float, Range(0, 0.99)]
    patience: Annotated[int, Range(1)]
    missing: Annotated[str, OneOf(MISSING)]
    layer_weights: tuple[Annotated[float, Range(0)], ...]
    user_exponent: Annotated[float, Range(0)]
    item_exponent: Annotated[float, Range(0)]
    content: Content


# Keys of params.yaml that are read together.
SELECTING = frozenset({"protocol", "train.patience"})
"""What chooses the epoch to keep."""

FITTING = SELECTING | {
    "seed",
    "train.batch_size",
    "train.cold_items",
    "train.dimension",
    "train.epochs",
    "train.loss",
    "train.negatives",
    "train.reject_positives",
    "train.temperature",
}
"""What every system that gradients fit reads."""

LIGHTGCN = FITTING | {
    "layers",
    "propagation",
    "train.item_exponent",
    "train.layer_weights",
    "train.learning_rate",
    "train.regularization",
    "train.user_exponent",
}
"""What LightGCN reads."""

PROJECTED = frozenset({f"train.content.{f.name}" for f in fields(Content)} | {"train.missing"})
"""What the projection of modalities reads, besides whether it is learned."""

LATE_FUSION = LIGHTGCN | PROJECTED | {"aggregate", "projection", "train.id_dropout"}
"""What LF-MMLGCN reads."""

Unread = tuple[tuple[str, Any, frozenset[str]], ...]
"""Under this value of a key, those keys are not read."""

UNREAD: Unread = (
    ("protocol", "published", frozenset({"train.patience", "train.reject_positives"})),
    (
        "propagation",
        "published",
        frozenset({"train.item_exponent", "train.layer_weights", "train.user_exponent"}),
    ),
    ("layers", 0, frozenset({"train.item_exponent", "train.user_exponent"})),
    ("train.loss", "bpr", frozenset({"train.temperature"})),
    ("train.content.contrast", 0, frozenset({"train.content.temperature"})),
)


@dataclass(frozen=True)
class SystemOptions:
    """What one system reads of params.yaml.

    Its own parameters, under `systems.<name>`, are the fields of a subclass, each with its default.
    Of all others a system is given those that it declares here; reading another is an
    AttributeError.

    Attributes:
        reads: the other parameters that it reads, by their keys.
        content: whether it reads the items' modalities.
        fuses: whether it fuses them into collaborative item embeddings, so that the two have
            lengths to compare.
        without_content: the system that it is when no item has content; None if it is another
            one then.
        unread: under this value of one of its own parameters, those others are not read.
        composed: whether it is made of systems, each of which is fitted in epochs of its own.
        undivided: why several processes cannot fit it together (`model.ranks`); empty if they can.
    """

    reads: ClassVar[frozenset[str]] = frozenset()
    content: ClassVar[bool] = False
    fuses: ClassVar[bool] = False
    without_content: ClassVar[str | None] = None
    unread: ClassVar[Unread] = ()
    composed: ClassVar[bool] = False
    undivided: ClassVar[str] = "its module does not say that they can"

    def own_read(self) -> set[str]:
        """Its own parameters that it reads, under their values."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return _without_unread(own, own, self.unread)


O = TypeVar("O", bound=SystemOptions)  # noqa: E741 (options)
P = TypeVar("P", bound=SystemOptions)


@dataclass(frozen=True, eq=False, repr=False)
class Config(Declared, Generic[O]):
    """The parameters that one system reads; the fields that it does not read are not there.

    Attributes:
        options: its own.
    """

    options: O
    layers: int
    aggregate: str
    propagation: str
    projection: str
    protocol: str
    train: Train

    @classmethod
    def of(cls, options: O, values: Mapping[str, Any]) -> Config[O]:
        """From all of `values`, by their keys in params.yaml, those that the system reads."""
        config: Config[O] = _partial(cls, keys_read(options, values), values, "")
        config.__dict__["options"] = options
        return config

    def of_part(self, options: P, **changes: Any) -> Config[P]:
        """What another system is given that this one is made of: of the same, what it reads.

        Args:
            changes: dotted key → value of what the part is given otherwise.
        """
        return Config[P].of(options, _Own(flatten(self) | changes))

    @property
    def epochs(self) -> int:
        """The most rows that a fit's history has."""
        return 1 if self.options.composed else flatten(self).get("train.epochs", 1)

    def record(self) -> dict[str, Any]:
        """Key → value of all that the system reads, its own parameters as `options.<key>`."""
        own = {f"options.{name}" for name in self.options.own_read()}
        everything = flatten(self).items()
        return {k: v for k, v in everything if k in own or not k.startswith("options.")}


def keys_read(options: SystemOptions, values: Mapping[str, Any]) -> set[str]:
    """The keys of `values` that a system reads, under those values."""
    return _without_unread(options.reads, values, UNREAD)


def _without_unread(read: Iterable[str], values: Mapping[str, Any], unread: Unread) -> set[str]:
    left = set(read)
    for key, value, others in unread:
        if key in left and values[key] == value:
            left -= others
    return left


def flatten(part: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key → value of every leaf of a dataclass that is set."""
    result: dict[str, Any] = {}
    for field in fields(part):
        if field.name in vars(part):
            value, key = vars(part)[field.name], prefix + field.name
            result |= flatten(value, f"{key}.") if is_dataclass(value) else {key: value}
    return result


def _partial(cls: type, read: set[str], values: Mapping[str, Any], prefix: str) -> Any:
    """An instance of a dataclass with only the fields that are read."""
    part: Any = object.__new__(cls)
    hints = get_type_hints(cls)
    for field in fields(cls):
        key = prefix + field.name
        if is_dataclass(hints[field.name]):
            part.__dict__[field.name] = _partial(hints[field.name], read, values, f"{key}.")
        elif key in read:
            part.__dict__[field.name] = values[key]
    return part
