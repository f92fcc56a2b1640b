"""A blend against its parts alone, blended by hand in float64."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import catalogue_of, random_interactions
from numpy.typing import NDArray
from small import config_of
from test_contract import CPU, I, U, dataset
from test_extended import new_content, rows_of
from torch import Tensor

from model.blending import standardized
from model.dataset import Catalogue, Dataset, Modality
from model.experiment import build, fit, system_class
from model.interactions import Interactions
from model.metrics import SELECTION
from model.system import Fit, Run, System, Unsupported
from model.systems.blend import Blend
from pipeline.recommending.similarity import by_model

SEED = 3
ALL = ("ease", "ials", "itemknn", "contentknn")
SMALL = {"epochs": 6, "patience": 2, "learning_rate": 0.05}
FACTORS = 4
Scores = NDArray[np.float64]


class Keeping(Blend):
    """One whose parts all stay."""

    def _leave_out(self, train: Interactions, validation: Interactions) -> None:
        pass


def fitted(
    parts: Sequence[str] = ALL,
    data: Dataset | None = None,
    run: Run | None = None,
    cls: type[Blend] = Keeping,
) -> tuple[Blend, Fit]:
    data = dataset() if data is None else data
    options = {"parts": tuple(parts), "factors": FACTORS}
    config = config_of("blend", options=options, **SMALL)
    run = Run(SEED) if run is None else run
    model = build(cls, data.catalogue, config, run.seed)
    assert isinstance(model, Blend)
    return model, fit(model, data, run, CPU)


def scores(system: System) -> Tensor:
    return system.scorer()(torch.arange(U))


def without_validation(data: Dataset) -> Dataset:
    nobody = Interactions.of(torch.empty(0), torch.empty(0), data.catalogue.n_users, I)
    return Dataset(data.catalogue, nobody, data.test)


def options_of(name: str, point: Mapping[str, float], data: Dataset) -> dict[str, Any]:
    """What a part alone is told, for what was chosen."""
    if name == "ials":
        return {key: point[key] for key in ("unobserved_weight", "regularization")}
    if name == "itemknn":
        bm25 = {"similarity": "bm25", "k1": point["k1"], "b": min(1.0, point["b"])}
        return bm25 if point["bm25"] else {"shrinkage": point["shrinkage"]}
    if name == "contentknn":
        return {"neighbors": max(1, round(point["neighbors"]))}
    if name == "lattice":
        return {"learning_rate": 0.001, "rebuild": "epoch"}
    if name != "ease":
        return {}
    x = data.catalogue.train.block(0, data.catalogue.n_users).double().numpy()
    p, q = (0.25, 0.125) if point["normalized"] else (0.0, 0.0)
    x = x / x.sum(1, keepdims=True).clip(1) ** p / x.sum(0, keepdims=True).clip(1) ** q
    strength = point["strength"] * float(np.diag(x.T @ x).mean())
    return {
        "regularization": strength, "dropout": 0.2, "content_weight": strength / 10,
        "whiten": False, "user_exponent": p, "item_exponent": q,
    }  # fmt: skip


def alone(name: str, chosen: Mapping[str, float], data: Dataset) -> tuple[System, float]:
    """A part as a system of its own, fitted with what the blend chose; its NDCG on validation."""
    point = {k.removeprefix(f"{name}."): v for k, v in chosen.items() if k.startswith(f"{name}.")}
    changes = SMALL | ({"dimension": FACTORS} if name == "ials" else {})
    config = config_of(name, options=options_of(name, point, data), **changes)
    model = build(system_class(name), data.catalogue, config, SEED)
    told = fit(model, data, Run(SEED), CPU)
    row = told.history[told.best_epoch - 1]
    return model, row.get(str(SELECTION), 0.0)


def by_hand(parts: Sequence[Tensor], histories: Interactions, popular: Scores) -> Scores:
    """z-scores of (u, I or I + m) over what a user does not have, their mean where there are any.

    Args:
        popular: (I + m,) for who has nothing.
    """
    seen = histories.block(0, histories.n_users).numpy()
    blend = np.zeros((histories.n_users, len(popular)))
    for user in range(histories.n_users):
        if not seen[user].any():
            blend[user] = popular
            continue
        rows: list[list[float]] = [[] for _ in popular]
        for part in parts:
            s = part[user].double().numpy()
            rest = s[: seen.shape[1]][~seen[user]]
            for item, value in enumerate((s - rest.mean()) / rest.std() if rest.std() else 0 * s):
                rows[item].append(value)
        blend[user] = [np.mean(row) for row in rows]
    return blend


def popularity(data: Dataset, more: int = 0) -> Scores:
    counts = np.bincount(data.catalogue.train.items.numpy(), minlength=I).astype(float)
    return np.pad(counts, (0, more))


@pytest.mark.parametrize(
    "parts",
    [
        ALL,
        ("itemknn",),
        ("frozen", "ials", "ease"),
        ("none",),
        ("ease", "contrastive"),
        ("ease", "lattice"),
    ],
)
def test_a_score_is_the_mean_of_its_parts_z_scores(parts: tuple[str, ...]) -> None:
    data = dataset()
    model, told = fitted(parts, data)
    assert tuple(model.parts) == parts
    expected = by_hand(
        [scores(alone(name, told.chosen, data)[0]) for name in parts],
        data.catalogue.train, popularity(data),
    )  # fmt: skip
    got = scores(model).double().numpy()
    np.testing.assert_allclose(got, expected, atol=2e-5)
    assert (got[U - 1] == popularity(data)).all()  # who has nothing in training


def test_new_users_are_folded_into_each_part() -> None:
    data, parts = dataset(), ("ease", "ials", "contentknn", "frozen")
    model, told = fitted(parts, data)
    histories = random_interactions(5, I, 25, 0)
    histories = Interactions.of(histories.users, histories.items, 6, I)  # the last has nothing
    everyone = torch.arange(6)
    each = [alone(name, told.chosen, data)[0].folded(histories)(everyone) for name in parts]
    got = model.folded(histories)(everyone).double().numpy()
    np.testing.assert_allclose(got, by_hand(each, histories, popularity(data)), atol=2e-5)


@pytest.mark.parametrize("parts", [ALL, ("itemknn", "frozen")])
def test_a_new_item_is_scored_by_the_parts_that_know_it(parts: tuple[str, ...]) -> None:
    data, content = dataset(), new_content()
    model, told = fitted(parts, data)
    each = []
    for name in parts:
        part = alone(name, told.chosen, data)[0]
        if name not in ("ials", "itemknn"):
            part = part.with_items(content)
        each.append(scores(part))
    extended = model.with_items(content)
    got = scores(extended).double().numpy()
    expected = by_hand(each, data.catalogue.train, popularity(data, 4))
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert torch.equal(torch.from_numpy(got[:, :I]), scores(model).double())
    # In steps, and for new users.
    steps = model.with_items(rows_of(content, [0])).with_items(rows_of(content, [1, 2, 3]))
    np.testing.assert_allclose(scores(steps).double().numpy(), got, atol=1e-4)
    histories = data.catalogue.train.of_users(torch.tensor([4, 9]))
    assert extended.folded(histories)(torch.arange(2)).shape == (2, I + 4)


def test_who_knows_no_content_takes_no_items() -> None:
    with pytest.raises(Unsupported, match="by their interactions alone"):
        fitted(("ials", "itemknn", "none"))[0].with_items(new_content())


def test_without_content_its_parts_do_without() -> None:
    data = dataset()
    bare = Dataset(Catalogue(data.catalogue.train), data.validation, data.test)
    model, told = fitted(ALL, bare)
    assert [*model.parts] == ["ease", "ials", "itemknn"]
    assert not any(key.startswith("contentknn") for key in told.chosen)
    plain = {"content_weight": 0.0, "whiten": True}
    point = {"strength": told.chosen["ease.strength"], "normalized": told.chosen["ease.normalized"]}
    config = config_of("ease", options=options_of("ease", point, bare) | plain)
    ease = build(system_class("ease"), bare.catalogue, config, SEED)
    fit(ease, bare, Run(SEED), CPU)
    assert torch.allclose(scores(model.parts["ease"]), scores(ease), atol=1e-6)
    # Of nothing but content, nothing is left but who is popular.
    nothing, _ = fitted(("contentknn",), bare)
    assert nothing.parts == {} and scores(nothing).isfinite().all()


# What validation chooses.

SOUGHT = {
    "ease": {"strength": 2.0, "normalized": None},
    "ials": {"unobserved_weight": 2.0, "regularization": 2.0},
    "itemknn": {"bm25": None, "shrinkage": 2.0, "k1": 2.0, "b": 2.0},
    "contentknn": {"neighbors": 4.0},
}


def test_no_single_step_from_what_is_chosen_gains() -> None:
    data = dataset()
    model, told = fitted(ALL, data)
    chosen = told.chosen
    assert chosen == model.diagnostics()
    assert {key for key in chosen if not key.endswith(".weight")} == {
        "ease.strength", "ease.normalized", "ials.unobserved_weight", "ials.regularization",
        "ials.epochs", "itemknn.bm25", "itemknn.shrinkage", "itemknn.k1", "itemknn.b",
        "contentknn.neighbors",
    }  # fmt: skip
    assert [chosen[f"{name}.weight"] for name in ALL] == [1.0] * 4
    for name, factors in SOUGHT.items():
        best = alone(name, chosen, data)[1]
        for parameter, factor in factors.items():
            key = f"{name}.{parameter}"
            value = chosen[key]
            for other in (1 - value,) if factor is None else (value * factor, value / factor):
                assert alone(name, chosen | {key: other}, data)[1] <= best, (key, other)


@pytest.mark.parametrize("parts", [ALL, ("frozen", "ease", "ials")])
def test_what_was_chosen_is_fitted_again_without_validation(parts: tuple[str, ...]) -> None:
    data = dataset()
    model, told = fitted(parts, data)
    again, retold = fitted(parts, without_validation(data), Run(SEED, chosen=told.chosen))
    assert torch.equal(scores(again), scores(model))
    assert retold.chosen == told.chosen and retold.best_epoch == 1
    # It is kept to, whatever validation would have preferred.
    other = {**told.chosen, "ease.strength": told.chosen["ease.strength"] * 16}
    kept, retold = fitted(parts, data, Run(SEED, chosen=other))
    assert retold.chosen == other
    assert not torch.allclose(scores(kept), scores(model), atol=1e-3)
    # A part that was left out stays out.
    fewer = {key: v for key, v in told.chosen.items() if not key.startswith("ials.")}
    assert [*fitted(parts, data, Run(SEED, chosen=fewer))[0].parts] == [
        name for name in parts if name != "ials"
    ]


@pytest.mark.parametrize(
    "name",
    ["none", "frozen", "alpha", "unfrozen", "normalized", "equal", "contrastive", "lattice"],
)
def test_what_gradients_fit_is_the_system_itself(name: str) -> None:
    data = dataset()
    model, told = fitted(("itemknn", name), data)
    own = {"learning_rate": 0.001, "rebuild": "epoch"} if name == "lattice" else {}
    config = config_of(name, options=own, **SMALL)
    same = build(system_class(name), data.catalogue, config, SEED)
    retold = fit(same, data, Run(SEED), CPU)
    assert torch.equal(scores(model.parts[name]), scores(same))
    assert told.chosen[f"{name}.epochs"] == retold.best_epoch
    assert told.chosen[f"{name}.weight"] == 1.0


def test_the_state_brings_along_what_the_seed_drew() -> None:
    """A fixed projection is drawn once and never trained; parts come in any order."""
    parts, content = ("itemknn", "frozen", "ease"), new_content()
    model, _ = fitted(parts)
    state = {key: tensor.clone() for key, tensor in model.state().items()}
    again = build(system_class("blend"), dataset().catalogue, model.config, SEED + 1)
    assert isinstance(again, Blend)
    again.load(state)
    assert [*again.parts] == [*parts] and again.diagnostics() == model.diagnostics()
    assert torch.equal(scores(again), scores(model))
    assert torch.equal(scores(again.with_items(content)), scores(model.with_items(content)))
    kept = again.state()
    assert kept.keys() == state.keys()
    assert all(torch.equal(kept[key], state[key]) for key in kept)


# Which parts are left out: catalogues of six topics, a user's items nine in ten of one of them.

USERS, ITEMS, TOPICS = 200, 150, 6
SIZES = {"long": (8, 3), "short": (2, 3)}  # interactions of a user: training, validation


def planted(histories: str, told: float) -> Dataset:
    """Histories `long` enough to tell what a user likes or not; how much content tells of it."""
    rng = np.random.default_rng(4)
    topics = rng.integers(TOPICS, size=ITEMS)
    sizes = SIZES[histories]
    drawn = []
    for _ in range(USERS):
        weight = np.where(topics == rng.integers(TOPICS), 9.0 * (TOPICS - 1), 1.0)
        drawn.append(rng.choice(ITEMS, sum(sizes), replace=False, p=weight / weight.sum()))
    edges = torch.tensor(np.stack(drawn)).split(sizes, dim=1)
    train, validation = (
        Interactions.of(
            torch.arange(USERS).repeat_interleave(e.shape[1]), e.flatten(), USERS, ITEMS
        )
        for e in edges
    )
    x = rng.normal(size=(ITEMS, 8)) + told * rng.normal(size=(TOPICS, 8))[topics]
    text = Modality("text", torch.tensor(x).float(), torch.ones(ITEMS, dtype=torch.bool))
    return Dataset(catalogue_of(train, text), validation, validation)


@pytest.mark.parametrize(
    ("histories", "told", "parts", "left"),
    [
        ("long", 0, ("itemknn", "contentknn"), ["itemknn"]),
        ("short", 1, ("ease", "itemknn", "contentknn"), ["ease", "itemknn", "contentknn"]),
        ("long", 3, ("itemknn", "contentknn"), ["contentknn"]),
    ],
)
def test_parts_that_harm_are_left_out_and_others_stay(
    histories: str, told: float, parts: tuple[str, ...], left: list[str]
) -> None:
    data = planted(histories, told)
    model, result = fitted(parts, data, cls=Blend)
    assert [*model.parts] == left
    assert {key.partition(".")[0] for key in result.chosen} == {*left}
    assert model.state().keys() == {
        *(f"chosen.{key}" for key in result.chosen),
        *(f"{name}.{key}" for name, part in model.parts.items() for key in part.state()),
    }


def test_a_part_alone_is_never_left_out() -> None:
    model, _ = fitted(("contentknn",), planted("long", 0), cls=Blend)
    assert [*model.parts] == ["contentknn"]


def test_a_blend_is_limited_where_a_part_is_that_stays() -> None:
    """A report rests no finding on a fit that may still have improved."""
    data = dataset()
    for epochs, limited in ((1, True), (60, False)):
        config = config_of(
            "blend", options={"parts": ("itemknn", "frozen"), "factors": FACTORS}, epochs=epochs,
            patience=2, learning_rate=0.05,
        )  # fmt: skip
        alone = fit(
            build(
                system_class("frozen"),
                data.catalogue,
                config_of("frozen", epochs=epochs, patience=2, learning_rate=0.05),
                SEED,
            ),
            data,
            Run(SEED),
            CPU,
        )
        assert alone.limited == limited
        for cls, stays in ((Keeping, True), (Leaving, False)):
            model = build(cls, data.catalogue, config, SEED)
            assert fit(model, data, Run(SEED), CPU).limited == (limited and stays)


def test_what_no_part_finds_alike_is_left_out_of_what_is_similar() -> None:
    """Z-scores of who liked one item never equal what who liked none is shown: popularity."""
    model, _ = fitted(("itemknn", "contentknn"), planted("long", 0), cls=Keeping)
    items = torch.arange(model.n_items)
    alone = [by_model(part, model.n_items)(items).isfinite() for part in model.parts.values()]
    found = by_model(model, model.n_items)(items)
    assert torch.equal(found.isfinite(), alone[0] | alone[1])
    assert found.isinf().any() and not torch.equal(alone[0], alone[1])
    [knn] = [part for name, part in model.parts.items() if name == "itemknn"]
    model.parts = {"itemknn": knn}
    assert torch.equal(by_model(model, model.n_items)(items).isfinite(), alone[0])


def test_how_often_ials_solves_limits_no_blend() -> None:
    """No parameter could let it go on."""
    data, values = planted("long", 0), SMALL | {"patience": 20}
    config = config_of("blend", options={"parts": ("ials",), "factors": FACTORS}, **values)
    model = build(Keeping, data.catalogue, config, SEED)
    result = fit(model, data, Run(SEED), CPU)
    assert model.parts["ials"].config.options.iterations == 16
    assert result.chosen["ials.epochs"] > 8  # so that iALS alone would be limited
    assert not result.limited


class Leaving(Blend):
    """One that late fusion harms."""

    def _leave_out(self, train: Interactions, validation: Interactions) -> None:
        del self.parts["frozen"]


def test_published_selects_nothing() -> None:
    data = dataset()
    options = {"parts": ALL, "factors": FACTORS}
    config = config_of("blend", options=options, **SMALL)
    published = config_of("blend", options=options, protocol="published", **SMALL)
    model = build(Blend, data.catalogue, published, SEED)
    told = fit(model, data, Run(SEED), CPU)
    unseen = without_validation(data)
    other = build(Blend, data.catalogue, config, SEED)
    assert told.chosen == fit(other, unseen, Run(SEED), CPU).chosen
    assert {key.partition(".")[0] for key in told.chosen} == {*ALL}


@pytest.mark.parametrize("value", [0.1, 0.3, 7.7e8, -1e-30])
def test_rows_without_a_spread_are_zeros(value: float) -> None:
    """Whatever the rounding of their mean; one that is less than float32 tells is none."""
    rows = torch.full((1, 7), value, dtype=torch.float64)
    rows[0, -1] = value * 5
    assert not standardized(rows, torch.ones(1, 6, dtype=torch.bool)).any()
    rows[0, 0] = value * (1 + 1e-7)
    assert standardized(rows, torch.ones(1, 6, dtype=torch.bool))[0, 0].abs() == pytest.approx(
        5**0.5, rel=1e-3
    )


def test_parts_without_content_are_given_none() -> None:
    """They read nothing that decides how content is treated."""
    data = dataset()
    options = {"parts": ("none", "itemknn"), "factors": FACTORS}
    for cold in ("new", "trained"):
        config = config_of("blend", options=options, cold_items=cold, **SMALL)
        model = build(Keeping, data.catalogue, config, SEED)
        fit(model, data, Run(SEED), CPU)
        alone = config_of("none", cold_items=cold, **SMALL)
        other = build(system_class("none"), Catalogue(data.catalogue.train), alone, SEED)
        fit(other, Dataset(Catalogue(data.catalogue.train), data.validation, data.test),
            Run(SEED), CPU)  # fmt: skip
        assert torch.equal(scores(model.parts["none"]), scores(other))  # type: ignore[attr-defined]
