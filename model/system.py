"""The contract that every system fulfils: fitted on a dataset, it scores items for users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from model.config import Config
from model.dataset import Catalogue, Dataset, Modality
from model.dataset import Unsupported as Unsupported  # of the contract
from model.interactions import Interactions

if TYPE_CHECKING:
    from model.ranking import Scorer
    from model.ranks import Share

Row = dict[str, float]
"""One epoch in numbers: epoch, losses, validation metrics, diagnostics; what there is of them."""


class FitError(Exception):
    """A fit that cannot end well. The message says why, and what to do about it."""


class Diverged(FitError):
    """A fit whose numbers are no longer finite. The message says which, and in which epoch."""


@dataclass(frozen=True)
class Fit:
    """What fitting tells.

    Attributes:
        history: one row an epoch.
        best_epoch: the epoch, from 1, whose state the system now has.
        limited: whether `epochs` ended it while validation could still have brought a better one.
        chosen: by name, all that `Run.chosen` needs to fit the same once more; `epochs` of what is
            fitted in epochs.
    """

    history: list[Row]
    best_epoch: int
    limited: bool = False
    chosen: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """All that a fit needs to go on exactly as if it had never stopped.

    Attributes:
        tensors: whatever the system's fitting changes, by name.
        history: one row a finished epoch.
        best_epoch: as in `Fit`.
    """

    tensors: dict[str, Tensor]
    history: list[Row]
    best_epoch: int


@dataclass(frozen=True)
class Run:
    """How one fit goes about.

    Attributes:
        seed: of everything that is drawn.
        resumed: where an earlier fit of the same system, data, parameters and seed was cut off.
        on_epoch: told of every finished epoch: its row and its seconds.
        save: told the snapshot after every epoch that is not the last; the tensors are live, so
            what is to be kept must be copied or written before it returns.
        chosen: `Fit.chosen` of an earlier fit, to which this one keeps: nothing is selected.
    """

    seed: int = 0
    resumed: Snapshot | None = None
    on_epoch: Callable[[Row, float], None] = lambda row, seconds: None
    save: Callable[[Snapshot], None] = lambda snapshot: None
    chosen: Mapping[str, float] | None = None


class System(ABC):
    """A system under comparison, whatever it is made of.

    Args:
        catalogue: what it is built on; content only if its `Options` declare that it reads it.
        config: the parameters that it declares to read.

    What is drawn while it is built comes from torch's global generator.

    Attributes:
        unit_length: whether content may turn an item's collaborative embedding but not lengthen it
            (`model.controls`); only what its `Options` say `fuses` heeds it.
    """

    unit_length = False

    def __init__(self, catalogue: Catalogue, config: Config[Any]) -> None:
        self.config = config
        self.n_users, self.n_items = catalogue.n_users, catalogue.n_items

    @abstractmethod
    def to(self, device: torch.device) -> System:
        """Move it, before it is fitted, to where the dataset will be."""

    @abstractmethod
    def fit(self, dataset: Dataset, run: Run) -> Fit:
        """Fit to the dataset's training interactions, selecting on its validation ones if at all.

        What `run.chosen` names is not selected but taken from there.

        Raises:
            FitError: it cannot end well: the memory does not suffice, or it has `Diverged`.
        """

    @abstractmethod
    def scorer(self) -> Scorer:
        """A function from users (b,) int64 to their scores of all items (b, I), once fitted.

        What all users share is computed here, so that asking for one block of users after another
        costs no more than asking for all.
        """

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What fitting made: a system built as this one was, given it by `load`, scores alike."""

    def whole_state(self, share: Share) -> dict[str, Tensor] | None:
        """`state` of what several processes fitted together, on the first; None on the others.

        Args:
            share: which users are this process's.
        """
        return None if share.ranks.rank else self.state()

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned; `constants` too, where they are given."""

    def folding(self) -> Callable[[Interactions], Scorer]:
        """As `scorer`, of users that came after fitting, by what they liked; nothing is refitted.

        A function from histories of such users, over the items of `scorer` and on the system's
        device, to their scorer. What all of them share is computed here.

        Raises:
            Unsupported: the system knows none but the users that it was fitted on.
        """
        raise Unsupported("it knows only the users that it was fitted on")

    def folded(self, histories: Interactions) -> Scorer:
        """The scorer of users that came after fitting, at once."""
        return self.folding()(histories)

    def with_items(self, content: Sequence[Modality]) -> Self:
        """This system with m more items, which it knows by their content alone.

        They follow the others in every score, embedding and term. An item's are the same whichever
        come along with it. Nothing is refitted.

        Args:
            content: modalities of the m items, in any order; one that is not given they lack.

        Raises:
            Unsupported: the system reads no content, or not a modality that is given.
        """
        raise Unsupported("it knows items by their interactions alone")

    def terms(self) -> dict[str, Tensor] | None:
        """Name → (I, D), which sum to the items' `embeddings`: what each of them is made of.

        `collaboration`, the modalities, and what else there is; None without embeddings.
        """
        return None

    def carriers(self) -> Callable[[Tensor, int], Tensor] | None:
        """What each item of a user's history adds to the score of another item.

        A function from the history (n,) int64 and that item to (n,); None if the scores do not come
        from there.
        """
        return None

    def components(self) -> Sequence[System]:
        """The systems whose scores it puts together; itself, if it is not made of any."""
        return [self]

    def constants(self) -> dict[str, Tensor]:
        """What besides `state` describes the model, and follows from catalogue and seed."""
        return {}

    def embeddings(self) -> tuple[Tensor, Tensor] | None:
        """Users (U, D) and items (I, D) whose inner product is the score, if there are such."""
        return None

    def diagnostics(self) -> dict[str, float]:
        """What is worth knowing about the state, by name, such as a learned balance."""
        return {}
