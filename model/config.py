"""What may be chosen about a model and its fitting: names, the paper's defaults, what is valid.

Free of torch: checking a parameter should not cost an import of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar

AGGREGATES = ("mean", "sum", "max", "min", "prod", "concat", "ensemble")
PROPAGATIONS = ("bipartite", "published")
PROJECTIONS = ("fixed", "learned")
PROTOCOLS = ("validated", "published")
LOSSES = ("bpr", "softmax")
MISSING = ("skip", "zero", "mean")


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


@dataclass(frozen=True)
class Content:
    """What the paper leaves open about the projected modalities (section 6); off by default."""

    single_branch: bool = False
    autoencoder: Annotated[float, Range(0)] = 0.0
    contrast: Annotated[float, Range(0)] = 0.0
    temperature: Annotated[float, Positive] = 0.1


FITTING = frozenset(
    {
        "protocol",
        "train.batch_size",
        "train.epochs",
        "train.loss",
        "train.negatives",
        "train.patience",
        "train.reject_positives",
        "train.temperature",
    }
)
"""The parameters that the fitting itself reads."""


@dataclass(frozen=True)
class System:
    """What one system reads of params.yaml.

    Its own parameters, under `systems.<name>`, are the fields of a subclass. A system is built from
    what is declared here and from nothing else (`Config.of`).

    Attributes:
        shared: the parameters that it reads besides, by their keys.
        content: whether it reads the items' modalities.
    """

    shared: ClassVar[frozenset[str]]
    content: ClassVar[bool] = True


@dataclass(frozen=True)
class LightGCN(System):
    """LightGCN alone."""

    shared = frozenset(
        {
            "layers",
            "propagation",
            "train.dimension",
            "train.item_exponent",
            "train.layer_weights",
            "train.learning_rate",
            "train.regularization",
            "train.user_exponent",
        }
    )
    content = False


@dataclass(frozen=True)
class LateFusion(System):
    """LF-MMLGCN with an aggregation function."""

    shared = LightGCN.shared | {"aggregate", "projection", "train.content", "train.missing"}


@dataclass(frozen=True)
class Equal(System):
    """LF-MMLGCN with a mean of its own."""

    shared = LateFusion.shared - {"aggregate"}


@dataclass(frozen=True)
class Early(System):
    """EF-MMLGCN."""

    shared = LightGCN.shared | {"aggregate", "train.content", "train.missing"}

    dropout: Annotated[float, Range(0, 0.99)] = 0.1
    contrast: Annotated[float, Range(0)] = 0.1
    temperature: Annotated[float, Positive] = 0.1


@dataclass(frozen=True)
class Mmlgcn(System):
    """MMLGCN."""

    shared = LightGCN.shared | {"train.missing"}

    output_layer: bool = True


@dataclass(frozen=True)
class Vbpr(System):
    """VBPR, with Cornac's defaults and its scale of the L2 terms."""

    shared = frozenset({"train.dimension", "train.missing"})

    learning_rate: Annotated[float, Positive] = 5e-3
    regularization: Annotated[float, Range(0)] = 0.01
    bias_regularization: Annotated[float, Range(0)] = 0.01
    content_regularization: Annotated[float, Range(0)] = 0.0


@dataclass(frozen=True)
class Mmgcn(System):
    """MMGCN, with the official code's defaults."""

    shared = frozenset({"train.dimension", "train.missing"})

    learning_rate: Annotated[float, Positive] = 5e-4
    layers: Annotated[int, Range(1)] = 3
    regularization: Annotated[float, Range(0)] = 0.1


@dataclass(frozen=True)
class Lattice(System):
    """LATTICE, with the official code's defaults; the graph follows every step (`rebuild`)."""

    shared = frozenset({"train.dimension", "train.missing"})

    learning_rate: Annotated[float, Positive] = 5e-4
    decay: Annotated[float, Range(0, 1, above=True)] = 0.96
    layers: Annotated[int, Range(0)] = 2
    neighbors: Annotated[int, Range(1)] = 10
    feature_dimension: Annotated[int, Range(1)] = 64
    frozen_weight: Annotated[float, Range(0, 1)] = 0.9
    rebuild: Annotated[str, OneOf(("step", "epoch"))] = "step"
    regularization: Annotated[float, Range(0)] = 1e-5


@dataclass(frozen=True)
class Systems:
    """The keys under `systems` in params.yaml: what each system reads, and it alone."""

    none: LightGCN = field(default_factory=LightGCN)
    frozen: LateFusion = field(default_factory=LateFusion)
    alpha: LateFusion = field(default_factory=LateFusion)
    unfrozen: LateFusion = field(default_factory=LateFusion)
    normalized: LateFusion = field(default_factory=LateFusion)
    equal: Equal = field(default_factory=Equal)
    early: Early = field(default_factory=Early)
    mmlgcn: Mmlgcn = field(default_factory=Mmlgcn)
    vbpr: Vbpr = field(default_factory=Vbpr)
    mmgcn: Mmgcn = field(default_factory=Mmgcn)
    lattice: Lattice = field(default_factory=Lattice)


@dataclass(frozen=True)
class Train:
    """The keys under `train` in params.yaml, which several systems or the fitting read."""

    dimension: Annotated[int, Range(1)] = 512
    epochs: Annotated[int, Range(1)] = 500
    batch_size: Annotated[int, Range(1)] = 2048
    learning_rate: Annotated[float, Positive] = 1e-3
    regularization: Annotated[float, Range(0)] = 1e-4
    loss: Annotated[str, OneOf(LOSSES)] = "bpr"
    temperature: Annotated[float, Positive] = 0.1
    negatives: Annotated[int, Range(1)] = 1
    reject_positives: bool = True
    patience: Annotated[int, Range(1)] = 20
    missing: Annotated[str, OneOf(MISSING)] = "skip"
    layer_weights: tuple[Annotated[float, Range(0)], ...] = ()
    user_exponent: Annotated[float, Range(0)] = 0.5
    item_exponent: Annotated[float, Range(0)] = 0.5
    content: Content = field(default_factory=Content)


@dataclass(frozen=True)
class Config:
    """Everything besides the data that a model and its fitting depend on; keys of params.yaml."""

    layers: int = 0
    train: Train = field(default_factory=Train)
    systems: Systems = field(default_factory=Systems)
    aggregate: str = "mean"
    propagation: str = "bipartite"
    projection: str = "fixed"
    protocol: str = "validated"

    def for_system(self, system: str) -> Config:
        """The same with every parameter that `system` does not read at its default.

        No other parameter can change the system's results, so none is remembered with them.
        """
        own: System = getattr(self.systems, system)
        values = _leaves(self, "") | _leaves(self.train, "train.")
        values[f"systems.{system}"] = own
        groups: dict[str, dict[str, Any]] = {"": {}, "train": {}, "systems": {}}
        for key in own.shared | FITTING | {f"systems.{system}"}:
            group, _, name = key.rpartition(".")
            groups[group][name] = values[key]
        return Config(
            train=Train(**groups["train"]), systems=Systems(**groups["systems"]), **groups[""]
        )


def _leaves(part: Any, prefix: str) -> dict[str, Any]:
    return {f"{prefix}{f.name}": getattr(part, f.name) for f in fields(part)}
