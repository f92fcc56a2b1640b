"""A blend of systems that err differently: closed forms, content and late fusion, weighed alike."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from model.blend_parts import CLASSES, SOUGHT, WITHOUT_CONTENT, options_of
from model.blending import blended
from model.config import PUBLISHED, SELECTING, Config, OneOf, Range, SystemOptions
from model.dataset import Catalogue, Dataset, Modality
from model.evaluation import validated
from model.metrics import SELECTION
from model.search import Point, climbed
from model.system import Fit, Row, Run, System

if TYPE_CHECKING:
    from model.interactions import Interactions
    from model.ranking import Scorer


@dataclass(frozen=True)
class Options(SystemOptions):
    """Its `parts`; the `factors` of iALS."""

    reads = SELECTING | {"seed"}
    composed = True
    undivided = "some of its parts are solved in closed form"

    SOUGHT: ClassVar = ("ease", "ials", "itemknn", "contentknn")
    """The parts whose parameters validation seeks: they read none of params.yaml."""

    parts: tuple[Annotated[str, OneOf(
        (*SOUGHT, "none", "frozen", "alpha", "unfrozen", "normalized", "equal", "contrastive",
         "lattice")
    )], ...] = SOUGHT  # fmt: skip
    factors: Annotated[int, Range(1)] = 256

    def __post_init__(self) -> None:
        from model.systems import options_class  # this class may be made of its source alone

        # The others read here what they read alone, but not their entry under `systems`.
        own = (options_class(name).reads for name in self.parts if name not in self.SOUGHT)
        object.__setattr__(self, "reads", self.reads.union(*own))

    @property
    def content(self) -> bool:  # type: ignore[override]
        """Whether a part reads the items' modalities."""
        return not {*self.parts} <= {"ials", "itemknn", "none"}

    def own_read(self) -> set[str]:
        return super().own_read() - (set() if "ials" in self.parts else {"factors"})


class Blend(System):
    r"""s_ui = \frac{1}{|C_i|} \sum_{c \in C_i} (s^c_ui - mu^c_u) / sigma^c_u.

    C_i are the parts that know item i, mu and sigma the mean and the standard deviation of a part's
    scores of a user over the items of the catalogue that the user does not have (CombSUM of
    z-scores: Fox and Shaw, 1994; Renda and Straccia, 2003). Without history, popularity ranks.

    Validation chooses each part's parameters (`model.search`). Weights stay equal, since estimated
    ones mostly do worse on what comes next (Smith and Wallis, 2009), but parts that harm are left
    out, one after another: as long as the blend is better without one in validation NDCG@10, the
    one without which it is best goes. Without validation, and under `published`, which selects
    nothing, all parts stay, with the parameters that the search starts from.

    EASE has content as further users, alpha^2 = lambda / 10, and a dropout of 0.2; its lambda is
    `strength` mean diagonals of X^T X; `normalized` divides by deg(u)^(1/4) deg(i)^(1/8). LATTICE
    keeps an epoch's neighbours; its learning rate is 0.001.
    """

    added = 0  # items that came after fitting

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        super().__init__(catalogue, config)
        self.catalogue = catalogue
        self.chosen: Point = {}
        self.parts: dict[str, System] = {}
        self.limited: set[str] = set()  # the parts that their number of epochs ended

    def to(self, device: torch.device) -> Self:
        train = self.catalogue.train.to(device)
        self.catalogue = Catalogue(train, self.catalogue.modalities)
        for part in self.parts.values():
            part.to(device)
        return self

    def fit(self, dataset: Dataset, run: Run) -> Fit:
        start = time.perf_counter()
        train, validation = dataset.catalogue.train, dataset.validation
        for name in self.config.options.parts:
            if name == "contentknn" and not self.catalogue.modalities:
                continue
            if run.chosen is None:
                self._seek(name, dataset, run)
            elif (point := _of_part(run.chosen, name)) is not None:
                self._take(name, *self._fitted(name, point, dataset, run))
        if run.chosen is None and self._selects(dataset):
            self._leave_out(train, validation)
        row: Row = {"epoch": 1}
        if len(validation):
            row |= validated(self.scorer(), train, validation)
        run.on_epoch(row, time.perf_counter() - start)
        return Fit([row], 1, not self.limited.isdisjoint(self.parts), dict(self.chosen))

    def _selects(self, dataset: Dataset) -> bool:
        """Whether validation decides anything; under `published` it does not."""
        return len(dataset.validation) > 0 and self.config.protocol != PUBLISHED

    def _seek(self, name: str, dataset: Dataset, run: Run) -> None:
        """Fit a part with the parameters that validation prefers."""
        start, factors = SOUGHT.get(name, ({}, {}))
        kept = self._fitted(name, start, dataset, run)
        values: dict[SystemOptions, float] = {}

        def value(point: Point) -> float:
            nonlocal kept
            options = options_of(name, point, self.catalogue)
            if options not in values:
                _, told, _ = fitted = self._fitted(name, point, dataset, run) if values else kept
                found = told.history[told.best_epoch - 1][str(SELECTION)]
                if found > max(values.values(), default=-1.0):
                    kept = fitted
                values[options] = found
            return values[options]

        if factors and self._selects(dataset):
            climbed(start, factors, value)
        self._take(name, *kept)

    def _fitted(
        self, name: str, point: Point, dataset: Dataset, run: Run
    ) -> tuple[System, Fit, Point]:
        part = self._built(name, point, run.seed)
        told = part.fit(dataset, Run(run.seed, chosen=point if run.chosen else None))
        return part, told, point | told.chosen

    def _built(self, name: str, point: Point, seed: int) -> System:
        torch.manual_seed(seed)
        factors = {"train.dimension": self.config.options.factors} if name == "ials" else {}
        config = self.config.of_part(options_of(name, point, self.catalogue), **factors)
        catalogue = self.catalogue
        if name in WITHOUT_CONTENT:
            catalogue = Catalogue(catalogue.train)
        return CLASSES[name](catalogue, config).to(catalogue.train.items.device)

    def _take(self, name: str, part: System, told: Fit, point: Point) -> None:
        self.parts[name] = part
        # How often iALS solves is the blend's own, and no parameter.
        if told.limited and name != "ials":
            self.limited.add(name)
        self.chosen |= {f"{name}.{key}": value for key, value in (point | {"weight": 1.0}).items()}

    def _leave_out(self, train: Interactions, validation: Interactions) -> None:
        """Drop the parts without which the blend is better, if there are such."""
        scorers = {name: part.scorer() for name, part in self.parts.items()}
        popular = self._popular()

        def value(names: Iterable[str]) -> float:
            scorer = blended([scorers[name] for name in names], train, popular)
            return validated(scorer, train, validation)[str(SELECTION)]

        best = value(self.parts)
        while len(self.parts) > 1:
            left = {name: value(n for n in self.parts if n != name) for name in self.parts}
            name = max(left, key=left.__getitem__)
            if left[name] <= best:
                return
            best = left[name]
            del self.parts[name]
            self.chosen = {
                key: value for key, value in self.chosen.items() if not key.startswith(f"{name}.")
            }

    def scorer(self) -> Scorer:
        # Users that a part was fitted on are more to it than their histories.
        scorers = [part.scorer() for part in self.parts.values()]
        return blended(scorers, self.catalogue.train, self._popular())

    def folding(self) -> Callable[[Interactions], Scorer]:
        makers = [part.folding() for part in self.parts.values()]
        popular = self._popular()

        def scorer(histories: Interactions) -> Scorer:
            known = histories.of_first(self.n_items)
            return blended([make(known) for make in makers], known, popular)

        return scorer

    def _popular(self) -> Tensor:
        """(I + m,) float64, how many users have an item."""
        return F.pad(self.catalogue.train.item_degrees().double(), (0, self.added))

    def with_items(self, content: Sequence[Modality]) -> Self:
        """Known by the parts that read content."""
        takers = [name for name in self.parts if name not in WITHOUT_CONTENT]
        if not (takers and self.catalogue.modalities):
            return super().with_items(content)
        extended = copy.copy(self)
        extended.parts = {
            name: part.with_items(content) if name in takers else part
            for name, part in self.parts.items()
        }
        extended.added = self.added + (len(content[0].present) if content else 0)
        return extended

    def components(self) -> Sequence[System]:
        return [*self.parts.values()]

    def state(self) -> dict[str, Tensor]:
        chosen = {
            f"chosen.{key}": torch.tensor(value, dtype=torch.float64)
            for key, value in self.chosen.items()
        }
        fitted = {
            f"{name}.{key}": tensor
            for name, part in self.parts.items()
            for key, tensor in (part.state() | part.constants()).items()
        }
        return chosen | fitted

    def load(self, state: Mapping[str, Tensor]) -> None:
        chosen = _of_part(state, "chosen") or {}
        self.chosen = {key: float(value) for key, value in chosen.items()}
        self.parts = {}
        for name in self.config.options.parts:
            if (point := _of_part(self.chosen, name)) is not None:
                self.parts[name] = self._built(name, point, 0)
                self.parts[name].load(_of_part(state, name) or {})

    def diagnostics(self) -> dict[str, float]:
        return dict(self.chosen)


def _of_part(values: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """What stands under `name`, by the rest of its key; None if nothing does."""
    found = {
        key.removeprefix(f"{name}."): value
        for key, value in values.items()
        if key.startswith(f"{name}.")
    }
    return found or None
