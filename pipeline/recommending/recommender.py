"""A trained model that can be asked: what to recommend, to whom, and why."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from model.dataset import Modality
from model.ranking import NOBODY
from model.system import System, Unsupported
from pipeline.catalogue.workspace import Workspace
from pipeline.common.device import resolve_device
from pipeline.common.files import InputError
from pipeline.common.revisions import WORKSPACE
from pipeline.recommending.answers import Explanation, Recommendation
from pipeline.recommending.asking import Asker, Askers, length
from pipeline.recommending.histories import Histories, fitted_on
from pipeline.recommending.ids import Ids
from pipeline.recommending.index import Index
from pipeline.recommending.new_items import ContentEncoders, NewItem, joined
from pipeline.recommending.opening import fitted_system, read_model, source_of, takers
from pipeline.recommending.similarity import Similarities
from pipeline.recommending.titles import Titles


class Recommender:
    """A trained model with the catalogue that it was trained on. `open` makes one.

    Ids are the catalogue's own. Rankings are exact, ties in the order of the catalogue: one user
    alone, many together and the evaluation get the same lists.

    Attributes:
        description: what the model's file says: system, parameters, catalogue, split.
        users, items: ids, in the order of their rows.
        system: the fitted system.
    """

    def __init__(
        self,
        workspace: Workspace,
        description: Mapping[str, Any],
        system: System,
        device: torch.device,
        users: Ids,
        items: Ids,
        titles: Titles,
        encoders: ContentEncoders,
        content_of: Callable[[], list[Modality]] | None = None,
    ) -> None:
        self.workspace, self.description, self.device = workspace, description, device
        self.system, self.users, self.items = system, users, items
        self.titles, self.encoders = titles, encoders
        self._content_of = content_of or (lambda: workspace.content)
        self.index: Index | None = None

    @classmethod
    def open(cls, name: str | Path = WORKSPACE, device: str = "auto") -> Self:
        """The trained model of the workspace, of a revision, or of an exported folder.

        Args:
            name: `workspace` (run from the repository's root); the folder that `export` wrote, or
                else an experiment, commit, branch or tag, whose files DVC has in cache or remote.
            device: auto, cpu or cuda.

        Raises:
            InputError: there is no such model, or it does not fit its catalogue any more.
        """
        where = torch.device(resolve_device(device))
        source = source_of(name)
        description, tensors = read_model(source)
        workspace = Workspace(source)
        system = fitted_system(workspace, description, tensors, where)
        return cls.of(workspace, description, system, where)

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        description: Mapping[str, Any],
        system: System,
        device: torch.device,
    ) -> Self:
        """A fitted system with the workspace that it was fitted on.

        Args:
            description: as the model's file has it: `system`, `layers`, `seed`, `parameters`, ...
            device: where the system is.
        """
        users, items = Ids("user", workspace.user_ids), Ids("item", workspace.item_ids)
        titles = Titles(workspace.source, items)
        encoders = ContentEncoders(workspace, device.type)
        return cls(workspace, description, system, device, users, items, titles, encoders)

    # What is asked.

    def recommend(
        self,
        user: str | None = None,
        k: int = 10,
        *,
        liked: Sequence[str] | None = None,
        hide: str = "history",
        allow: Iterable[str] | None = None,
        block: Iterable[str] = (),
    ) -> list[Recommendation]:
        """The k best items for a user, best first; fewer where no more may be shown.

        Args:
            user: an id of the catalogue.
            liked: in its place, what a new user liked: the system folds them in.
            hide: what is not recommended again: `history` (training and validation, as in the
                evaluation), `all` that is known, or `nothing`. Of a new user, `liked`.
            allow: ids of the items that may be shown; None for all.
            block: ids of those that may not.

        Raises:
            InputError: an id is not there, or another argument is not valid.
        """
        asker = self._asker(user, liked, hide)
        return self._shown(*asker.rank(length(k), self._allowed(allow, block)))

    def recommend_each(
        self,
        users: Iterable[str] | None = None,
        k: int = 10,
        *,
        hide: str = "history",
        allow: Iterable[str] | None = None,
        block: Iterable[str] = (),
    ) -> Iterator[tuple[str, list[Recommendation]]]:
        """As `recommend`, of many users, lazily, in blocks; of all if none are named."""
        for rows, best, scores in self.ranked(users, k, hide=hide, allow=allow, block=block):
            for user, items, values in zip(rows.tolist(), best, scores, strict=True):
                yield self.users[user], self._shown(items, values)

    def ranked(
        self,
        users: Iterable[str] | None = None,
        k: int = 10,
        *,
        hide: str = "history",
        allow: Iterable[str] | None = None,
        block: Iterable[str] = (),
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `recommend_each`, on the CPU: rows of users (b,), of items (b, k), scores (b, k).

        Where fewer than k may be shown, -1 follows, with a score of -inf.
        """
        allowed = self._allowed(allow, block)
        rows = None if users is None else torch.from_numpy(self.users.rows(users))
        return self._askers.blocks(rows, length(k), hide, allowed)

    def score(
        self, user: str | None, items: Sequence[str], *, liked: Sequence[str] | None = None
    ) -> list[float]:
        """The scores of some items for a user; for a new one, None and what they liked."""
        rows = torch.from_numpy(self.items.rows(items)).to(self.device)
        return self._asker(user, liked, "nothing").scores(rows).tolist()

    def similar(self, item: str, k: int = 10, by: str = "model") -> list[Recommendation]:
        """The k items most like another; fewer where fewer are like it at all.

        Args:
            by: `model`, by what it learned (cosine of embeddings, or a closed form's weights);
                `collaboration`, by the users who have both (cosine); `content` (mean cosine of the
                modalities that both have); or one modality. What has none in common is left out.

        Raises:
            InputError: there is no such item, it lacks the modality, or `by` is none of these.
        """
        row = self.items.row(item)
        if not self._similarities.has(by, row):
            raise InputError(f"item {item!r} has no {by}")
        return self._shown(*self._similarities.nearest(row, length(k), by))

    def why(
        self, user: str | None, item: str, *, liked: Sequence[str] | None = None, most: int = 5
    ) -> Explanation:
        """Where the score of an item for a user comes from; for a new one, None and their likes.

        Args:
            most: of the liked items that carry it, how many are named.
        """
        asker, row = self._asker(user, liked, "nothing"), self.items.row(item)
        score = float(asker.scores(torch.tensor([row], device=self.device))[0])
        named: list[Recommendation] = []
        if self._askers.carriers is not None:
            carried = self._askers.carriers(asker.history, row)
            order = carried.sort(descending=True, stable=True).indices[:most].tolist()
            named = [self._one(int(asker.history[n]), float(carried[n])) for n in order]
        return Explanation(self._one(row, score), asker.parts(row, self._terms), tuple(named))

    def history(self, user: str, *splits: str) -> list[str]:
        """What a user liked in some splits: training and validation if none are named."""
        row = self.users.row(user)
        return [self.items[item] for item in self._askers.histories.of(row, splits).tolist()]

    def title(self, item: str) -> str:
        """What an item is called."""
        return self.titles[self.items.row(item)]

    # What comes along.

    def with_items(self, items: Iterable[NewItem]) -> Self:
        """This recommender with items that came after training, known by their content alone.

        They take part in everything: recommended beside the others, compared, explained. What the
        system makes of them does not depend on which come along. Lists are exact: an index
        (`indexed`) is of the items that it was built of.

        Raises:
            InputError: the system does not read content; an id is there already; a content cannot
                be read, or is of a modality that there is not.
        """
        if not (items := list(items)):
            return self
        ids = self.items.with_more([item.item_id for item in items])
        content = self.encoders.encode(items)
        try:
            system = self.system.with_items(content)
        except Unsupported as error:
            raise InputError(
                f"{self.description['system']} cannot take new items: {error}; those that can are "
                f"{', '.join(takers())}"
            ) from error
        titles = self.titles.with_more([item.shown for item in items])
        content_of = partial(joined, self._content_of, content)
        return type(self)(
            self.workspace, self.description, system, self.device, self.users, ids, titles,
            self.encoders, content_of,
        )  # fmt: skip

    def indexed(self, path: str | Path | None = None) -> Self:
        """This recommender with an approximate index, for `recommend` among a million items.

        Lists may then miss an item; scores and order stay exact. It needs the extra `index`.

        Args:
            path: a file that holds the index, or will: it is built if it is not there.

        Raises:
            InputError: no score of the system is an inner product; the file is of another model.
        """
        if (embeddings := self.system.embeddings()) is None:
            raise InputError(f"{self.description['system']} has no embeddings to index")
        found = copy.copy(self)
        found.__dict__.pop("_askers", None)
        found.index = Index.of(embeddings[1].cpu(), None if path is None else Path(path))
        return found

    # How.

    @cached_property
    def content(self) -> dict[str, Modality]:
        """Modality → its vectors over all items, of those that some item has; on the CPU."""
        return {modality.name: modality for modality in self._content_of()}

    @cached_property
    def _askers(self) -> Askers:
        known = fitted_on(self.description)
        histories = Histories(self.workspace.splits, len(self.items), self.device, known)
        return Askers(self.system, histories, self.index)

    @cached_property
    def _similarities(self) -> Similarities:
        known = self._askers.histories.fitted
        return Similarities(self.system, known, self.content, self.device)

    @cached_property
    def _terms(self) -> dict[str, Tensor] | None:
        terms = self.system.terms()
        return None if terms is None else {name: term.detach() for name, term in terms.items()}

    def _asker(self, user: str | None, liked: Sequence[str] | None, hide: str) -> Asker:
        if user is not None and liked is None:
            return self._askers.known(self.users.row(user), hide)
        if user is None and liked is not None:
            return self._askers.new(torch.from_numpy(self.items.rows(liked)).to(self.device), hide)
        raise InputError("name a user, or what a new user liked: one of the two")

    def _allowed(self, allow: Iterable[str] | None, block: Iterable[str]) -> Tensor | None:
        """(I,) bool; None for all."""
        mask = self.items.mask(allow, block)
        return None if mask is None else torch.from_numpy(mask).to(self.device)

    def _shown(self, items: Tensor, scores: Tensor) -> list[Recommendation]:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        return [self._one(row, score) for row, score in pairs if row != NOBODY]

    def _one(self, row: int, score: float) -> Recommendation:
        return Recommendation(self.items[row], self.titles[row], score)
