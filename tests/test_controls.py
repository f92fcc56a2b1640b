"""Controls: what each changes, of whom it is asked, and that nothing else changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import catalogue_of
from small import ITEMS, USERS, config_of, small_experiment, splits, write_workspace
from torch import Tensor

from model.config import AGGREGATES
from model.controls import ABLATIONS, CONTROLS, aggregate_in, controlled, controls_of, permuted
from model.dataset import Catalogue, Dataset, Modality
from model.embedding import EmbeddingSystem
from model.experiment import build, fit, system_class
from model.interactions import Interactions
from model.system import Run, System
from model.systems import SYSTEMS, options_class
from pipeline.catalogue.workspace import Workspace
from pipeline.common import params as stage_params
from pipeline.experiments.cells import cell_of
from pipeline.experiments.experiment import Experiment

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
ABSENT = {"text": 1, "image": 6}
MODALITIES = list(ABSENT)


def modality(name: str, items: int = ITEMS, absent: int = 0, width: int = 6) -> Modality:
    """Random rows, of which the first `absent` are not there."""
    generator = torch.Generator().manual_seed(len(name))
    present = torch.arange(items) >= absent
    vectors = torch.randn(items, width, generator=generator)
    return Modality(name, torch.where(present[:, None], vectors, 0.0), present)


def catalogue() -> Catalogue:
    """Item 0 has no content; every fifth item misses its interactions in training."""
    train = splits()["train"]
    kept = train.items % 5 > 0
    train = Interactions.of(train.users[kept], train.items[kept], USERS, ITEMS)
    return catalogue_of(train, *(modality(n, absent=first) for n, first in ABSENT.items()))


def built(system: str, control: str | None = None, **changes: Any) -> EmbeddingSystem:
    made = build(system_class(system), catalogue(), config_of(system, **changes), 0, control)
    assert isinstance(made, EmbeddingSystem)
    made.eval()
    return made


def origins(given: Modality, made: Modality) -> list[int]:
    """Of every row that is there, the row of `given` that it was."""
    same = (made.vectors[made.present][:, None] == given.vectors[given.present]).all(2)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1).tolist()


@pytest.mark.parametrize(("n", "absent"), [(2, 0), (3, 0), (30, 7), (9, 7), (200, 50)])
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_a_placebo_gives_every_item_the_content_of_another(n: int, absent: int, seed: int) -> None:
    given = modality("text", n, absent)
    before = given.vectors.clone()
    made = permuted(given, seed, 0)
    came_from = origins(given, made)
    assert sorted(came_from) == list(range(n - absent))
    assert all(row != origin for row, origin in enumerate(came_from))
    assert torch.equal(made.present, given.present) and made.name == given.name
    assert not made.vectors[:absent].any()
    assert torch.equal(given.vectors, before)


@pytest.mark.parametrize(("n", "absent"), [(1, 0), (5, 4), (5, 5), (0, 0)])
def test_a_placebo_of_one_item_or_none_changes_nothing(n: int, absent: int) -> None:
    given = modality("text", n, absent)
    assert torch.equal(permuted(given, 0, 0).vectors, given.vectors)


def test_seeds_and_modalities_have_placebos_of_their_own() -> None:
    one = modality("text")
    twice = Catalogue(splits()["train"], [one, replace(one, name="image")])

    def made(seed: int) -> list[Tensor]:
        return [m.vectors for m in controlled(twice, "placebo", seed).modalities]

    found = [vectors for seed in range(4) for vectors in made(seed)]
    assert len({v.numpy().tobytes() for v in found}) == len(found) == 8
    for seed in range(4):
        assert all(map(torch.equal, made(seed), found[2 * seed : 2 * seed + 2]))


def test_a_placebo_does_not_touch_what_is_drawn_elsewhere() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    controlled(catalogue(), "placebo", 7)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("control", "left"),
    [
        (None, MODALITIES), ("no_content", []), ("unit_length", MODALITIES),
        ("only_text", ["text"]), ("only_image", ["image"]), ("without_text", ["image"]),
        ("without_image", ["text"]), ("aggregate_max", MODALITIES), ("placebo", MODALITIES),
    ],
)  # fmt: skip
def test_what_a_control_leaves_of_the_content(control: str | None, left: list[str]) -> None:
    given = catalogue()
    made = controlled(given, control, 0)
    assert [m.name for m in made.modalities] == left
    assert made.train is given.train and len(given.modalities) == 2
    if control != "placebo":
        assert all(any(m is other for other in given.modalities) for m in made.modalities)


def test_a_control_may_be_another_aggregate() -> None:
    assert aggregate_in("aggregate_prod") == {"aggregate": "prod"}
    for control in (None, *CONTROLS, "only_text", "without_text"):
        assert aggregate_in(control) == {}


FUSING = ["frozen", "alpha", "unfrozen", "normalized", "equal", "early"]
OTHERS = ["mmlgcn", "vbpr", "mmgcn", "lattice", "blend", "contentknn"]
ALONE = ["none", "random", "popularity", "itemknn", "ials", "ease"]
EACH = ["only_text", "only_image", "without_text", "without_image"]
FUNCTIONS = [f"aggregate_{name}" for name in AGGREGATES]


def test_which_controls_a_system_has() -> None:
    found = {
        name: controls_of(options_class(name)(), CONTROLS, ABLATIONS, MODALITIES)
        for name in SYSTEMS
    }
    all_of_them = ["placebo", "no_content", "unit_length", *EACH]
    assert found == {
        **{name: all_of_them + FUNCTIONS for name in FUSING},
        "equal": all_of_them,  # it aggregates in its own way
        "contrastive": ["placebo", "no_content", *EACH, *FUNCTIONS],  # to cosines, lengths are one
        **{name: ["placebo", "no_content", *EACH] for name in OTHERS},
        **{name: [] for name in ALONE},
    }
    with_content = options_class("ease")(content_weight=0.5)  # type: ignore[call-arg]
    assert controls_of(with_content, CONTROLS, ABLATIONS, MODALITIES) == [
        "placebo", "no_content", *EACH,
    ]  # fmt: skip


def test_controls_are_those_that_are_asked_for() -> None:
    frozen = options_class("frozen")()
    assert controls_of(frozen, ["unit_length", "placebo"], [], ["text"]) == [
        "unit_length", "placebo",
    ]  # fmt: skip
    assert controls_of(frozen, [], [], MODALITIES) == []
    # Of a single modality, there is nothing else to leave in or out.
    assert controls_of(frozen, [], ["modalities"], ["text"]) == []
    assert controls_of(frozen, [], ["aggregates"], ["text"]) == FUNCTIONS


def test_a_catalogue_without_content_has_no_controls() -> None:
    for name in SYSTEMS:
        assert controls_of(options_class(name)(), CONTROLS, ABLATIONS, []) == [], name


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_workspace(tmp_path)
    return Workspace()


def params(**train: Any) -> stage_params.Params:
    whole = stage_params.load(ROOT / "params.yaml")
    return replace(whole, device="cpu", train=replace(whole.train, dimension=4, epochs=3, **train))


def scores(system: System) -> Tensor:
    return system.scorer()(torch.arange(USERS))


WITHOUT = [name for name in SYSTEMS if options_class(name).without_content]


def test_who_is_another_system_without_content() -> None:
    assert {name: options_class(name).without_content for name in WITHOUT} == dict.fromkeys(
        ["frozen", "alpha", "unfrozen", "normalized", "equal", "early", "mmlgcn"], "none"
    )


@pytest.mark.parametrize("name", WITHOUT)
def test_without_content_it_is_that_other_system(here: Workspace, name: str) -> None:
    given = params()
    other = Experiment.of(given, "none", 2, 3)
    made = Experiment.of(given, name, 2, 3, "no_content")
    assert made == other and made.fingerprint(here) == other.fingerprint(here)
    # And rightly so: to the bit what the system itself makes of a catalogue without content.
    whole, config = here.dataset, Experiment.of(given, name, 2, 3).config
    bare = Dataset(Catalogue(whole.catalogue.train), whole.validation, whole.test)
    itself = build(system_class(name), bare.catalogue, config, 3)
    told = fit(itself, bare, Run(3), CPU)
    cell = cell_of(made, here)
    assert torch.equal(scores(itself), scores(cell.model(here)))
    assert told.best_epoch == cell.best_epoch

    def numbers(history: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{k: v for k, v in row.items() if k != "alpha"} for row in history]

    assert numbers(told.history) == numbers(cell.history)


@pytest.mark.parametrize("name", [*FUSING, *OTHERS, "contrastive", "ease"])
def test_a_control_makes_another_cell(here: Workspace, name: str) -> None:
    # A blend of several would leave some out, and then not all controls change it.
    own: dict[str, Any] = {"ease": {"content_weight": 2.0}, "blend": {"parts": ("frozen",)}}
    base = small_experiment(name, options=own.get(name), epochs=3, patience=3)
    asked = controls_of(base.config.options, CONTROLS, ["modalities"], here.modalities)
    made = {control: replace(base, control=control) for control in (None, *asked)}
    prints = {e.fingerprint(here) for e in made.values()}
    assert len(prints) == len(made) == len({e.label for e in made.values()})
    found = {control: cell_of(e, here) for control, e in made.items()}
    different = {scores(cell.model(here)).numpy().tobytes() for cell in found.values()}
    assert len(different) == len(found)


def test_the_aggregate_of_params_yaml_is_fitted_once(here: Workspace) -> None:
    given = params()
    plain = Experiment.of(given, "frozen", 1, 3)
    for name in AGGREGATES:
        made = Experiment.of(given, "frozen", 1, 3, f"aggregate_{name}")
        assert made.config.aggregate == name
        same = made.fingerprint(here) == plain.fingerprint(here)
        assert same == (name == given.aggregate), name


def test_a_placebo_needs_no_seed_of_the_system(here: Workspace) -> None:
    """EASE draws nothing, and yet its content can be another's."""
    base = small_experiment("ease", options={"content_weight": 2.0})
    assert base.seed is None
    placebo = cell_of(replace(base, control="placebo"), here)
    given = here.dataset
    expected = build(
        system_class("ease"), controlled(given.catalogue, "placebo", 0), base.config, None
    )
    fit(expected, given, Run(), CPU)
    assert torch.equal(scores(expected), scores(placebo.model(here)))


def collaborative(model: Any, layers: int) -> Tensor:
    """The propagated items (I, d), dense and in float64 (eq. 4-7, equal weights)."""
    train = catalogue().train
    adjacency = torch.zeros(USERS, ITEMS, dtype=torch.float64)
    adjacency[train.users, train.items] = 1
    degrees = [adjacency.sum(axis).clamp(min=1).sqrt() for axis in (1, 0)]
    adjacency = adjacency / degrees[0][:, None] / degrees[1]
    users, items = (t.detach().double() for t in (model.user_embedding, model.item_embedding))
    total = items.clone()
    for _ in range(layers):
        users, items = adjacency @ items, adjacency.T @ users
        total += items
    return total / (layers + 1)


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("missing", ["skip", "mean"])
@pytest.mark.parametrize("aggregate", ["mean", "sum", "max", "prod", "concat", "ensemble"])
@pytest.mark.parametrize("name", FUSING)
def test_items_are_turned_but_not_lengthened(
    name: str, aggregate: str, missing: str, layers: int
) -> None:
    assert options_class(name).fuses
    changes = {"layers": layers, "missing": missing, "aggregate": aggregate}
    plain, turned = built(name, **changes), built(name, "unit_length", **changes)
    before, after = plain(), turned()
    assert torch.equal(before.users, after.users)
    direction = before.items.detach().double()
    direction = direction / direction.norm(dim=1, keepdim=True)
    expected = direction * collaborative(plain, layers).norm(dim=1, keepdim=True)
    assert torch.allclose(after.items.double(), expected, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(after.items, before.items, rtol=1e-2)


@pytest.mark.parametrize("name", FUSING)
def test_gradients_pass_through_the_lengths(name: str) -> None:
    """To what they are of, as finite differences of the loss in float64 say."""
    model: Any = built(name, "unit_length", layers=0).double()
    weights = torch.randn(ITEMS, 8, generator=torch.Generator().manual_seed(0)).double()

    def loss() -> Tensor:
        total: Tensor = (model().items * weights).sum()
        return total

    loss().backward()
    gradient = model.item_embedding.grad
    for row, column in ((0, 0), (4, 3), (29, 7)):
        with torch.no_grad():
            found = []
            for step in (1e-6, -1e-6):
                model.item_embedding[row, column] += step
                found.append(loss())
                model.item_embedding[row, column] -= step
        assert float((found[0] - found[1]) / 2e-6) == pytest.approx(
            float(gradient[row, column]), rel=1e-4, abs=1e-7
        )


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("name", FUSING)
def test_rows_of_zeros_stay_finite(name: str, layers: int) -> None:
    """Item 0 has no content, item 5 some; both are zero, and nobody has them."""
    model: Any = built(name, "unit_length", layers=layers)
    with torch.no_grad():
        model.item_embedding[[0, 5]] = 0
    made = model()
    assert not made.items[[0, 5]].any()
    (made.users @ made.items.T).square().sum().backward()
    for key, parameter in model.trained().items():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    assert model.user_embedding.grad.any() and model.item_embedding.grad.any()


def test_without_content_lengths_are_as_they_were() -> None:
    config = config_of("frozen")
    bare = Catalogue(catalogue().train)
    plain, turned = (
        build(system_class("frozen"), bare, config, 0, control) for control in (None, "unit_length")
    )
    assert torch.equal(scores(plain), scores(turned))


@pytest.mark.parametrize("name", FUSING)
def test_a_fitted_cell_keeps_its_lengths(here: Workspace, name: str) -> None:
    e = replace(small_experiment(name, epochs=3, patience=3), control="unit_length")
    first, again = cell_of(e, here), cell_of(e, here)
    assert first.fresh and not again.fresh
    model: Any = again.model(here)
    assert model.unit_length
    made = build(system_class(name), here.dataset.catalogue, e.config, e.seed, "unit_length")
    fit(made, here.dataset, Run(e.seed or 0), CPU)
    assert torch.equal(scores(model), scores(made))
    with torch.no_grad():
        _, items = model.collaborative()
        lengths = model().items.norm(dim=1)
    assert torch.allclose(lengths, items.norm(dim=1), rtol=1e-5)
