"""Fitted systems meet what came after fitting: new items, new users; and say what scores are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_interactions, rounding
from small import EMBEDDING_SYSTEMS, config_of
from test_contract import CPU, D, I, U, config, dataset, fitted
from torch import Tensor
from torch.nn import functional as F

from model import folding
from model.config import AGGREGATES
from model.dataset import Catalogue, Modality
from model.embedding import EmbeddingSystem
from model.experiment import build, fit, system_class
from model.interactions import Interactions
from model.system import Run, System, Unsupported
from model.systems import SYSTEMS, options_class


def carried_by(model: System, history: Tensor, item: int) -> Tensor:
    carriers = model.carriers()
    assert carriers is not None
    return carriers(history, item)


TAKERS = [name for name in SYSTEMS if options_class(name).content]
OTHERS = [name for name in SYSTEMS if name not in TAKERS]


def new_content(rows: int = 4, seed: int = 5) -> list[Modality]:
    """Text of all but the first of some items, images of all but the last."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for name, width, absent in (("image", 5, rows - 1), ("text", 6, 0)):
        present = torch.arange(rows) != absent
        vectors = torch.randn(rows, width, generator=generator)
        made.append(Modality(name, vectors * present[:, None], present))
    return made


def rows_of(content: Sequence[Modality], rows: Any) -> list[Modality]:
    return [replace(m, vectors=m.vectors[rows], present=m.present[rows]) for m in content]


def scores(system: System) -> Tensor:
    return system.scorer()(torch.arange(U))


@pytest.mark.parametrize("name", TAKERS)
def test_new_items_follow_the_others(name: str) -> None:
    model, _ = fitted(name)
    before, content = scores(model), new_content()
    extended = model.with_items(content)
    after = scores(extended)
    assert after.shape == (U, I + 4) and after.isfinite().all()
    # Scores are rounded, and so is, to 1e-6 of a score, what a new item is made of.
    apart = rounding(extended.scorer(), torch.arange(U)).max().item() + 1e-6
    assert torch.allclose(after[:, :I], before, atol=apart)
    assert torch.equal(scores(model), before)  # the fitted one is as it was
    assert after[:, I:].std() > 0
    # Whichever come along, in whatever order and steps.
    alone = scores(model.with_items(rows_of(content, [2])))
    assert torch.allclose(alone[:, I], after[:, I + 2], atol=apart)
    steps = model.with_items(rows_of(content, [0])).with_items(rows_of(content[::-1], [1, 2, 3]))
    assert torch.allclose(scores(steps), after, atol=apart)
    # A new user meets them too.
    histories = random_interactions(3, I, 12, 0)
    scorer, new = extended.folded(replace(histories, n_items=I + 4)), torch.arange(3)
    folded = scorer(new)
    assert folded.shape == (3, I + 4) and folded.isfinite().all()
    apart = rounding(scorer, new).max().item() + 1e-5  # and what a new user is solved for
    assert torch.allclose(folded[:, :I], model.folded(histories)(new), atol=apart)


@pytest.mark.parametrize("name", TAKERS)
def test_what_a_new_item_lacks_may_be_left_out(name: str) -> None:
    model, _ = fitted(name)
    image, text = new_content()
    absent = Modality("image", torch.zeros(4, 5), torch.zeros(4, dtype=torch.bool))
    assert torch.equal(scores(model.with_items([text])), scores(model.with_items([text, absent])))
    with pytest.raises(Unsupported, match="sound: no such modality here; there are text, image"):
        model.with_items([replace(text, name="sound")])
    with pytest.raises(Unsupported, match="text: vectors of 5 numbers; here they have 6"):
        model.with_items([replace(image, name="text")])


@pytest.mark.parametrize("name", OTHERS)
def test_systems_without_content_take_no_items(name: str) -> None:
    with pytest.raises(Unsupported, match="by their interactions alone"):
        fitted(name)[0].with_items(new_content())


def test_a_system_without_a_formula_for_new_items_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = fitted("vbpr")
    monkeypatch.delattr(system_class("vbpr"), "new_terms")
    with pytest.raises(Unsupported, match="no formula for items without interactions"):
        model.with_items(new_content())


def larger(name: str, content: list[Modality], **changes: Any) -> tuple[System, Tensor]:
    """The fitted system and, by an independent way, the embeddings of new items.

    These stand in a larger catalogue from the start, without interactions; everything fitted is
    copied, and what the new items would have of their own is zero.
    """
    model, _ = fitted(name, **changes)
    data = dataset().catalogue
    train = Interactions.of(data.train.users, data.train.items, U, I + 4)
    given = {m.name: m for m in content}
    modalities = [
        Modality(
            m.name,
            torch.cat([m.vectors, given[m.name].vectors]),
            torch.cat([m.present, given[m.name].present]),
        )
        for m in data.modalities
    ]
    grown = build(system_class(name), Catalogue(train, modalities), model.config, 3)
    assert isinstance(model, EmbeddingSystem) and isinstance(grown, EmbeddingSystem)
    old, new = model.state_dict(), grown.state_dict()
    with torch.no_grad():
        for key, tensor in new.items():
            if tensor.shape == old[key].shape:
                tensor.copy_(old[key])
            else:
                own = tensor.clone()
                tensor[:I] = old[key]
                tensor[I:] = own[I:] if key.startswith(("start", "projection.tables")) else 0
    return model, grown.embeddings()[1][I:]


@pytest.mark.parametrize("name", ["vbpr", "mmgcn", "early"])
def test_a_new_item_is_as_one_without_interactions(name: str) -> None:
    content = new_content()
    model, expected = larger(name, content)
    got = model.with_items(content).embeddings()
    assert got is not None and torch.allclose(got[1][I:], expected, atol=1e-5)


@pytest.mark.parametrize("rebuild", ["step", "epoch"])
def test_a_new_item_has_its_row_in_lattices_graphs(rebuild: str) -> None:
    """By dense matrices, as the paper writes them."""
    options = {"neighbors": 4, "feature_dimension": 5, "rebuild": rebuild}
    data = dataset()
    cfg = config("lattice")
    cfg = type(cfg).of(options_class("lattice")(**options), flat(cfg))
    model = build(system_class("lattice"), data.catalogue, cfg, 3)
    assert isinstance(model, EmbeddingSystem)
    content = new_content()
    got = model.with_items(content).embeddings()[1][I:].double()  # type: ignore[index]
    by_name = {m.name: m for m in content}
    e = model.item_embedding.detach().double()  # type: ignore[union-attr]
    total = torch.zeros(4, D, dtype=torch.float64)
    learned_rows, sums_new = [], torch.zeros(4, dtype=torch.float64)
    sums_old = torch.zeros(I, dtype=torch.float64)
    weights_of = model.logits.softmax(0).detach().double()  # type: ignore[union-attr,operator]

    def share(present: list[Tensor], j: int) -> Tensor:
        weighed = torch.stack([w * p.double() for w, p in zip(weights_of, present, strict=True)])
        return weighed[j] / weighed.sum(0).clamp(min=1e-7)

    olds = [m.present for m in data.catalogue.modalities]
    news = [by_name[m.name].present for m in data.catalogue.modalities]
    for j, m in enumerate(data.catalogue.modalities):
        transform = model.graphs[j].transform  # type: ignore[index,union-attr]
        for kind in ("raw", "learned"):
            with torch.no_grad():
                both = torch.cat([m.vectors, by_name[m.name].vectors])
                both = both if kind == "raw" else transform(both)
            unit = F.normalize(both.double())
            present = torch.cat([m.present, by_name[m.name].present])
            s = torch.zeros(I + 4, I + 4, dtype=torch.float64)
            for row in present.nonzero()[:, 0].tolist():
                cosines = unit @ unit[row]
                candidates = [c for c in m.present.nonzero()[:, 0].tolist() if c != row]
                near = sorted(candidates, key=lambda c: -float(cosines[c]))[:3]
                s[row, near] = cosines[near].clamp(min=0)
                s[row, row] = 1
            if kind == "raw":
                scale = s.sum(1).clamp(min=1e-7).rsqrt()
                frozen = (scale[:, None] * s * scale)[I:, :I] @ e
                total += 0.9 * share(news, j)[:, None] * frozen
            else:
                learned_rows.append(share(news, j)[:, None] * s[I:, :I])
                sums_new += share(news, j) * s[I:].sum(1)
                sums_old += share(olds, j) * s[:I].sum(1)
    mixed = torch.stack(learned_rows).sum(0)
    total += 0.1 * (sums_new.rsqrt()[:, None] * mixed * sums_old.clamp(min=1e-7).rsqrt()) @ e
    assert torch.allclose(got, F.normalize(total), atol=1e-5)


def flat(cfg: Any) -> dict[str, Any]:
    from model.config import flatten

    return {k: v for k, v in flatten(cfg).items() if not k.startswith("options.")}


def test_a_new_item_of_mmlgcn_is_where_items_start() -> None:
    content = new_content()
    model, _ = fitted("mmlgcn")
    got = model.with_items(content).embeddings()[1][I:]  # type: ignore[index]
    by_name = {m.name: m for m in content}
    parts = []
    for name, start, w in zip(("text", "image"), model.start, model.w, strict=True):  # type: ignore[attr-defined]
        m = by_name[name]
        x = start(F.normalize(m.vectors)) * m.present[:, None] / 3  # 2 layers, no neighbours
        parts.append(w(x))
    expected = model.w_out(torch.cat(parts, dim=1))  # type: ignore[attr-defined]
    assert torch.allclose(got, expected, atol=1e-6)


def turned(m: Modality) -> Tensor:
    """What whitens (w, w), by those that have it: (Sigma + eps I)^-1/2."""
    known = m.vectors[m.present].double()
    value, vector = np.linalg.eigh(np.cov(known.numpy().T, bias=True))
    value = value.clip(0) + 1e-3 * value.clip(0).mean()
    return torch.from_numpy(vector / np.sqrt(value) @ vector.T)


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_new_item_of_ease_solves_the_larger_problem(whiten: bool, dropout: float) -> None:
    """The last column of B, of G with one more item that nobody has, in float64."""
    content, data = new_content(), dataset()
    options = {"content_weight": 1.0, "whiten": whiten, "dropout": dropout}
    model = build(system_class("ease"), data.catalogue, config_of("ease", options=options), 3)
    fit(model, data, Run(3), CPU)
    x = data.catalogue.train.block(0, U).double()
    blocks = []
    for m in data.catalogue.modalities:
        new = next(c for c in content if c.name == m.name)
        both = torch.cat([m.vectors, new.vectors]).double()
        has = torch.cat([m.present, new.present])
        made = (both - both[:I][m.present].mean(0)) @ turned(m) if whiten else both
        blocks.append(F.normalize(made) * has[:, None])
    scores_of = scores(model.with_items(content))
    for n in range(4):
        rows = [*range(I), I + n]
        gram = torch.zeros(I + 1, I + 1, dtype=torch.float64)
        gram[:I, :I] = x.T @ x
        for f in blocks:
            gram += f[rows] @ f[rows].T
        penalty = 50 + dropout / (1 - dropout) * gram.diagonal()
        p = torch.linalg.inv(gram + penalty.diag())
        assert torch.allclose(scores_of[:, I + n].double(), x @ (-p[:I, I] / p[I, I]), atol=1e-6)


@pytest.mark.parametrize("name", EMBEDDING_SYSTEMS)
@pytest.mark.parametrize(
    ("aggregate", "loss"), [*((aggregate, "bpr") for aggregate in AGGREGATES), ("mean", "softmax")]
)
def test_terms_sum_to_the_embeddings(name: str, aggregate: str, loss: str) -> None:
    reads = options_class(name).reads
    if aggregate != "mean" and "aggregate" not in reads:
        pytest.skip("it reads no aggregate")
    changes = {"aggregate": aggregate} if "aggregate" in reads else {}
    model, _ = fitted(name, epochs=2, loss=loss, **changes)
    extended = model.with_items(new_content()) if name in TAKERS else model
    terms, embeddings = extended.terms(), extended.embeddings()
    assert terms is not None and embeddings is not None
    assert torch.allclose(torch.stack(list(terms.values())).sum(0), embeddings[1], atol=1e-5)
    if name in TAKERS:
        assert {"text", "image"} <= terms.keys()
        lacking = {"text": [0, I], "image": [0, 1, I + 3]}
        for modality, rows in lacking.items():
            if name == "mmgcn":  # where an item without any takes all networks
                rows = [row for row in rows if row]
            if name != "mmlgcn":  # whose every part starts from something
                assert (terms[modality][rows] == 0).all(), modality
            assert terms[modality].abs().sum() > 0
    if "collaboration" in terms and name in TAKERS:
        assert (terms["collaboration"][I:] == 0).all()


@pytest.mark.parametrize("name", EMBEDDING_SYSTEMS)
def test_terms_of_items_of_collaborative_length(name: str) -> None:
    if not options_class(name).fuses:
        pytest.skip("it does not fuse")
    data = dataset().catalogue
    model = build(system_class(name), data, config(name), 0, "unit_length")
    terms, embeddings = model.terms(), model.embeddings()
    assert terms is not None and embeddings is not None
    assert torch.allclose(torch.stack(list(terms.values())).sum(0), embeddings[1], atol=1e-5)


@pytest.mark.parametrize("name", EMBEDDING_SYSTEMS)
def test_the_softmax_of_cosines_ranks_by_cosines(name: str) -> None:
    """What the loss never saw, an item's length, takes no part; new items are no exception."""
    model, _ = fitted(name, epochs=2, loss="softmax")
    extended = model.with_items(new_content()) if name in TAKERS else model
    model.eval()
    with torch.no_grad():
        made = model()
    users = torch.arange(U)
    cosines = F.normalize(made.users.double()) @ F.normalize(made.items.double()).T
    for scorer in (model.scorer(), extended.scorer()):
        order = scorer(users)[:, :I].double().argsort(dim=1, descending=True)
        ranked = cosines.gather(1, order)
        assert (ranked.diff(dim=1) < 1e-6).all()
    lengths = extended.embeddings()[1].norm(dim=1)
    assert torch.allclose(lengths[lengths > 0], torch.ones(()), atol=1e-6)
    assert len(lengths) == I or (lengths[I:] > 0).any()


FORMULAS = {
    "frozen": lambda m: sum(m) / len(m),
    "unfrozen": lambda m: sum(m) / len(m),
    "normalized": lambda m: sum(F.normalize(x, dim=0) for x in m) / len(m),
    "equal": lambda m: sum(m) / len(m),
}


@pytest.mark.parametrize("name", ["frozen", "unfrozen", "normalized", "equal", "alpha"])
def test_late_fusion_averages_the_content_that_a_new_item_has(name: str) -> None:
    model, _ = fitted(name)
    content = new_content()
    got = model.with_items(content).embeddings()[1][I:]  # type: ignore[index]
    by_name = {m.name: m for m in content}
    for n in range(4):
        parts = [
            linear(F.normalize(by_name[modality].vectors[n], dim=0))
            for modality, linear in zip(("text", "image"), model.projection.linears, strict=True)  # type: ignore[attr-defined]
            if by_name[modality].present[n]
        ]
        if name == "alpha":
            share = 1 - model.balance.sigmoid()  # type: ignore[attr-defined]
            expected = sum(share * part for part in parts) / len(parts)
        else:
            expected = FORMULAS[name](parts)
        assert torch.allclose(got[n], expected, atol=1e-6)


# New users.

CLOSED = ["ease", "itemknn", "contentknn"]


@pytest.mark.parametrize("name", CLOSED)
def test_a_closed_form_knows_users_by_their_histories(name: str) -> None:
    model, _ = fitted(name)
    train = dataset().catalogue.train
    assert torch.equal(model.folded(train)(torch.arange(U)), scores(model))


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_new_user_counts_by_what_he_likes(name: str) -> None:
    model, _ = fitted(name)
    histories = Interactions.of(
        torch.tensor([0, 0, 0, 1, 2, 2]), torch.tensor([3, 4, 9, 20, 3, 4]), 4, I
    )
    got = model.folded(histories)(torch.arange(4))
    assert got.shape == (4, I) and got.isfinite().all()
    alone = Interactions.of(torch.zeros(3), torch.tensor([9, 3, 4]), 1, I)
    if name != "random":
        again = model.folded(alone)(torch.tensor([0]))
        assert torch.allclose(again[0], got[0], atol=1e-4)
    if name not in ("popularity", "random"):
        assert not torch.allclose(got[0], got[1], atol=1e-4)


def with_edges(train: Interactions, liked: list[int]) -> Interactions:
    """One more user."""
    users = torch.cat([train.users, torch.full((len(liked),), U)])
    return Interactions.of(users, torch.cat([train.items, torch.tensor(liked)]), U + 1, I)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("exponents", [(0.5, 0.5), (0.8, 0.2)])
def test_lightgcn_propagates_to_a_new_user(
    layers: int, exponents: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By dense powers of the old graph, and the new user's row of D^-p R D^-q."""
    monkeypatch.setattr(folding, "PENALTY", 1e9)  # nobody moves from there
    p, q = exponents
    model, _ = fitted("frozen", layers=layers, user_exponent=p, item_exponent=q)
    train, liked = dataset().catalogue.train, [0, 3, 4, 28]
    r = train.block(0, U).double()
    r_hat = r.sum(1).clamp(min=1)[:, None] ** -p * r * r.sum(0).clamp(min=1) ** -q
    row = torch.zeros(I, dtype=torch.float64)
    row[liked] = len(liked) ** -p * r.sum(0)[liked].clamp(min=1) ** -q
    users = model.user_embedding.detach().double()  # type: ignore[attr-defined]
    items = model.item_embedding.detach().double()  # type: ignore[attr-defined]
    new = torch.zeros(D, dtype=torch.float64)
    for _ in range(layers):
        new += row @ items / (layers + 1)
        users, items = r_hat @ items, r_hat.T @ users
    histories = Interactions.of(torch.zeros(4), torch.tensor(liked), 1, I)
    expected = new @ model.embeddings()[1].double().T  # type: ignore[index]
    got = model.folded(histories)(torch.tensor([0]))[0].double()
    assert torch.allclose(got, expected, atol=1e-5)
    # What each liked item adds is all there is.
    item = int(expected.argmax())
    carried = carried_by(model, torch.tensor(liked), item)
    assert float(carried.sum()) == pytest.approx(float(expected[item]), abs=1e-5)


@pytest.mark.parametrize("name", ["mmgcn", "lattice", "mmlgcn"])
def test_with_one_layer_a_new_user_is_one_without_parameters(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One layer deep, no item hears from the user, so his own row can be set to zero."""
    monkeypatch.setattr(folding, "PENALTY", 1e9)
    options = {"layers": 1} if name in ("mmgcn", "lattice") else {}
    data = dataset()
    cfg = config(name, layers=1)
    cfg = type(cfg).of(options_class(name)(**options), flat(cfg))
    model = build(system_class(name), data.catalogue, cfg, 3)
    user = 6
    with torch.no_grad():
        for key, tensor in model.state_dict().items():  # type: ignore[attr-defined]
            if key in ("user_embedding", "user_id") or key.endswith("preference"):
                tensor[user] = 0
    liked = data.catalogue.train.items[data.catalogue.train.users == user]
    expected = model.scorer()(torch.tensor([user]))[0]
    if name in ("lattice", "mmlgcn"):  # whose items hear from users in that layer
        expected = model.embeddings()[0][user] @ model.embeddings()[1].T  # type: ignore[index]
    histories = Interactions.of(torch.zeros(len(liked)), liked, 1, I)
    assert torch.allclose(model.folded(histories)(torch.tensor([0]))[0], expected, atol=1e-5)


def test_ials_solves_for_a_new_user() -> None:
    model, _ = fitted("ials")
    liked = torch.tensor([2, 5, 11])
    h = model.embeddings()[1].double()  # type: ignore[index]
    o = model.config.options
    penalty = o.regularization * (3 + o.unobserved_weight * I) ** o.frequency_exponent
    a = o.unobserved_weight * h.T @ h + h[liked].T @ h[liked] + penalty * torch.eye(D)
    expected = h @ torch.linalg.solve(a, h[liked].sum(0))
    got = model.folded(Interactions.of(torch.zeros(3), liked, 1, I))(torch.tensor([0]))[0]
    assert torch.allclose(got.double(), expected, atol=1e-5)
    carried = carried_by(model, liked, 7)
    assert float(carried.sum()) == pytest.approx(float(expected[7]), abs=1e-5)


@pytest.mark.parametrize("name", CLOSED)
def test_what_liked_items_add_is_the_score(name: str) -> None:
    model, _ = fitted(name)
    train = dataset().catalogue.train
    for user in (0, 5):
        history, row = train.items[train.users == user], scores(model)[user]
        for item in (1, 8, 17):
            carried = carried_by(model, history, item)
            assert len(carried) == len(history)
            assert float(carried.sum()) == pytest.approx(float(row[item]), abs=1e-5)


def test_a_system_opened_from_its_state_takes_new_items_alike() -> None:
    """A fixed projection is drawn anew when a system is built, and restored by its constants."""
    model, _ = fitted("frozen")
    again = build(system_class("frozen"), dataset().catalogue, config("frozen"), 99)
    again.load(model.state() | model.constants())
    again.to(CPU)
    content = new_content()
    assert torch.equal(scores(again.with_items(content)), scores(model.with_items(content)))
