"""Items that nobody has in training: `train.cold_items`; items by content alone: `id_dropout`."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import EMBEDDING_SYSTEMS, config_of
from torch.nn import functional as F

from model.config import Config
from model.dataset import Catalogue, Dataset, Modality
from model.embedding import EmbeddingSystem
from model.experiment import system_class
from model.interactions import Interactions
from model.system import Run
from model.systems import options_class

USERS, ITEMS, COLD = 25, 30, [3, 11, 29]
FUSED = ("frozen", "alpha", "normalized", "equal")  # unfrozen trains the content of every item
CONTENT = [s for s in EMBEDDING_SYSTEMS if options_class(s).content]


def train() -> Interactions:
    """Nobody has the items `COLD`."""
    made = random_interactions(USERS, ITEMS, 200, 1)
    kept = ~torch.isin(made.items, torch.tensor(COLD))
    return Interactions.of(made.users[kept], made.items[kept], USERS, ITEMS)


def content() -> list[Modality]:
    """Two modalities; item 3 lacks one, items 5 and 29 have none."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for name, absent in (("text", [3, 5, 29]), ("audio", [5, 7, 29])):
        present = torch.ones(ITEMS, dtype=torch.bool)
        present[absent] = False
        vectors = torch.randn(ITEMS, 6, generator=generator)
        made.append(Modality(name, vectors * present[:, None], present))
    return made


def config(system: str, **changes: object) -> Config:
    own = {"lattice": {"neighbors": 4, "feature_dimension": 5, "learning_rate": 0.02}}
    return config_of(system, 2, own.get(system), **changes)


def catalogue(system: str) -> Catalogue:
    """What the system is given."""
    return catalogue_of(train(), *(content() if options_class(system).content else ()))


def fitted(system: str, **changes: object) -> EmbeddingSystem:
    torch.manual_seed(3)
    given = catalogue(system)
    made = system_class(system)(given, config(system, **changes))
    made.fit(Dataset(given, train(), train()), Run(1))
    return made  # type: ignore[return-value]


@pytest.mark.parametrize("system", CONTENT)
def test_a_cold_item_counts_as_one_that_comes_later(system: str) -> None:
    made = fitted(system, cold_items="new")
    later = made.with_items([m.of(torch.tensor(COLD)) for m in content()])
    items = later.embeddings()[1]
    torch.testing.assert_close(items[COLD], items[ITEMS:])
    terms = torch.stack(list((made.terms() or {}).values())).sum(0)
    torch.testing.assert_close(terms, made.embeddings()[1], atol=1e-6, rtol=1e-5)
    warm = torch.ones(ITEMS, dtype=torch.bool)
    warm[COLD] = False
    with torch.no_grad():
        own = F.normalize(made().items) if made.by_cosine else made().items
    torch.testing.assert_close(items[:ITEMS][warm], own[warm])
    assert not torch.allclose(items[COLD], own[COLD])
    # An evaluation scores by that.
    users = torch.arange(USERS)
    torch.testing.assert_close(made.scorer()(users)[:, COLD], later.scorer()(users)[:, ITEMS:])


@pytest.mark.parametrize("system", CONTENT)
def test_what_a_cold_item_started_from_counts_for_nothing(system: str) -> None:
    made = fitted(system, cold_items="new")
    tables = [n for n, p in made.named_parameters() if p.shape[:1] == (ITEMS,)]
    assert tables
    before = made.embeddings()[1].clone()
    with torch.no_grad():
        for name in tables:
            made.get_parameter(name)[COLD] = torch.randn_like(made.get_parameter(name)[COLD])
    torch.testing.assert_close(made.embeddings()[1], before)


@pytest.mark.parametrize("system", ["none", "frozen", "vbpr", "lattice"])
def test_a_cold_item_is_left_alone_only_if_it_counts_as_new(system: str) -> None:
    name = "gamma_items" if system == "vbpr" else "item_embedding"

    def table(**changes: object) -> torch.Tensor:
        return fitted(system, **changes).get_parameter(name).detach()

    moved, left = table(cold_items="trained"), table(cold_items="new")
    torch.manual_seed(3)
    start = system_class(system)(catalogue(system), config(system)).get_parameter(name).detach()  # type: ignore[attr-defined]
    assert torch.equal(left[COLD], start[COLD])
    assert not torch.isclose(moved[COLD], start[COLD]).any()
    assert not torch.isclose(left[0], start[0]).any()


@pytest.mark.parametrize("missing", ["skip", "zero", "mean"])
def test_ids_drop_out_of_items_with_content_alone(missing: str) -> None:
    """What fills the place of content that an item lacks is none of its own."""
    made = fitted("frozen", id_dropout=0.99, missing=missing)
    made.train()
    shown = torch.stack([made.shown()[:, 0] for _ in range(20)])  # type: ignore[operator]
    assert (shown[:, [5, 29]] == 1).all() and shown[:, :5].mean() < 0.2


@pytest.mark.parametrize("system", FUSED)
def test_an_item_without_its_id_is_its_content_alone(system: str) -> None:
    made = fitted(system, id_dropout=0.99)
    of_content = made.with_items([m.of(torch.arange(ITEMS)) for m in content()]).embeddings()[1]
    of_content = of_content[ITEMS:]
    made.train()
    torch.manual_seed(5)
    with torch.no_grad():
        shown = made().items
    bare = torch.isin(torch.arange(ITEMS), torch.tensor([5, 29]))  # no content: e stays
    made.eval()
    with torch.no_grad():
        whole = made().items
    dropped = torch.isclose(shown, of_content, atol=1e-6).all(1)
    kept = torch.isclose(shown, whole, atol=1e-6).all(1)
    assert dropped[~bare].sum() >= ITEMS - 6 and (dropped ^ kept).all()
    assert kept[bare].all()


def test_the_share_of_ids_that_drop_out_is_the_parameter() -> None:
    made = fitted("frozen", id_dropout=0.3)
    made.train()
    torch.manual_seed(0)
    left = torch.stack([made.shown()[:, 0] for _ in range(400)]).mean(0)  # type: ignore[operator]
    assert set(left[[5, 29]].tolist()) == {1.0}
    others = torch.ones(ITEMS, dtype=torch.bool)
    others[[5, 29]] = False
    assert float(left[others].mean()) == pytest.approx(0.7, abs=0.02)
    assert ((left[others] > 0.55) & (left[others] < 0.85)).all()  # each on its own
    made.eval()
    assert (made.shown() == 1).all()  # type: ignore[operator]


def test_the_same_seed_gives_the_same_bytes_with_ids_dropped() -> None:
    first, again = (fitted("frozen", id_dropout=0.5).embeddings()[1] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, fitted("frozen").embeddings()[1])
