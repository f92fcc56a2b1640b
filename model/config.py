"""What may be chosen about a model and its fitting: names, the paper's defaults, what is valid.

Free of torch: checking a parameter should not cost an import of it.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated

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
    """The numbers that a parameter takes: [low, high], or (low, high] with `above`."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low}"
        return low if self.high == math.inf else f"{low} and at most {self.high}"


Positive = Range(0, above=True)


@dataclass(frozen=True)
class Content:
    """What the paper leaves open about the projected modalities (section 6); off by default."""

    single_branch: bool = False
    autoencoder: Annotated[float, Range(0)] = 0.0
    contrast: Annotated[float, Range(0)] = 0.0
    temperature: Annotated[float, Positive] = 0.1


@dataclass(frozen=True)
class Early:
    """EF-MMLGCN."""

    dropout: Annotated[float, Range(0, 0.99)] = 0.1
    contrast: Annotated[float, Range(0)] = 0.1
    temperature: Annotated[float, Positive] = 0.1


@dataclass(frozen=True)
class Mmlgcn:
    """MMLGCN."""

    output_layer: bool = True


@dataclass(frozen=True)
class Vbpr:
    """VBPR, with Cornac's defaults."""

    learning_rate: Annotated[float, Positive] = 5e-3
    regularization: Annotated[float, Range(0)] = 0.01
    bias_regularization: Annotated[float, Range(0)] = 0.01
    content_regularization: Annotated[float, Range(0)] = 0.0


@dataclass(frozen=True)
class Mmgcn:
    """MMGCN, with the official code's defaults."""

    learning_rate: Annotated[float, Positive] = 5e-4
    layers: Annotated[int, Range(1)] = 3
    regularization: Annotated[float, Range(0)] = 0.1


@dataclass(frozen=True)
class Lattice:
    """LATTICE, with the official code's defaults; the graph follows every step (`rebuild`)."""

    learning_rate: Annotated[float, Positive] = 5e-4
    decay: Annotated[float, Range(0, 1, above=True)] = 0.96
    layers: Annotated[int, Range(0)] = 2
    neighbors: Annotated[int, Range(1)] = 10
    feature_dimension: Annotated[int, Range(1)] = 64
    frozen_weight: Annotated[float, Range(0, 1)] = 0.9
    rebuild: Annotated[str, OneOf(("step", "epoch"))] = "step"
    regularization: Annotated[float, Range(0)] = 1e-5


@dataclass(frozen=True)
class Train:
    """The keys under `train` in params.yaml."""

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
    early: Early = field(default_factory=Early)
    mmlgcn: Mmlgcn = field(default_factory=Mmlgcn)
    vbpr: Vbpr = field(default_factory=Vbpr)
    mmgcn: Mmgcn = field(default_factory=Mmgcn)
    lattice: Lattice = field(default_factory=Lattice)


@dataclass(frozen=True)
class Config:
    """Everything besides the data that a model and its fitting depend on; keys of params.yaml."""

    layers: int
    train: Train = field(default_factory=Train)
    aggregate: str = "mean"
    propagation: str = "bipartite"
    projection: str = "fixed"
    protocol: str = "validated"

    @property
    def layer_weights(self) -> tuple[float, ...]:
        """a_0..a_K of eq. 6-7: 1 / (K + 1) each, or the first K + 1 that were given."""
        given = self.train.layer_weights
        if not given:
            return (1 / (self.layers + 1),) * (self.layers + 1)
        if len(given) <= self.layers:
            raise ValueError(
                f"{len(given)} layer_weights for {self.layers} layers; {self.layers + 1} are needed"
            )
        return given[: self.layers + 1]
