"""Initial weights: each system's as in its original, whose shapes decide the scale."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of
from torch import Tensor

from model.dataset import Modality
from model.embedding import EmbeddingSystem
from model.experiment import system_class

U, I, D, WIDTH = 300, 900, 64, 50  # noqa: E741


def build(system: str) -> EmbeddingSystem:
    content = Modality("text", torch.randn(I, WIDTH), torch.ones(I, dtype=torch.bool))
    config = config_of(system, dimension=D)
    torch.manual_seed(0)
    catalogue = catalogue_of(random_interactions(U, I, 2000, 0), content)
    return system_class(system)(catalogue, config)


def is_uniform(table: Tensor, fans: int) -> bool:
    """Whether values look drawn from U(-b, b), b = sqrt(6 / fans)."""
    table, bound = table.detach(), (6 / fans) ** 0.5
    largest, spread = float(table.abs().max()), float(table.std())
    return 0.99 * bound < largest <= bound and abs(spread / (bound / 3**0.5) - 1) < 0.02


def is_normal(table: Tensor, fans: int) -> bool:
    """Whether values look drawn from N(0, 2 / fans)."""
    table, expected = table.detach(), (2 / fans) ** 0.5
    return abs(float(table.std()) / expected - 1) < 0.03 and float(table.abs().max()) > 3 * expected


def test_lightgcn_draws_one_table_of_all_nodes() -> None:
    model = build("none")
    assert is_uniform(model.user_embedding, U + I + D)
    assert is_uniform(model.item_embedding, U + I + D)


@pytest.mark.parametrize(
    ("system", "tables"),
    [
        ("vbpr", {"gamma_users": U + D, "gamma_items": I + D, "theta_users": U + D,
                  "content": WIDTH + D}),
        ("lattice", {"user_embedding": U + D, "item_embedding": I + D}),
    ],
)  # fmt: skip
def test_a_draw_for_each_table(system: str, tables: dict[str, int]) -> None:
    model = build(system)
    for name, fans in tables.items():
        assert is_uniform(getattr(model, name), fans), name
    if system == "vbpr":
        assert not model.bias.any()


def test_mmgcn_starts_xavier_normal() -> None:
    model = build("mmgcn")
    assert is_normal(model.user_id, U + I + D) and is_normal(model.item_id, U + I + D)
    network = model.networks[0]
    assert is_normal(network.preference, U + WIDTH)
    for k, width in enumerate((WIDTH, D, D)):
        assert is_normal(network.w[k].weight, 2 * width)
        assert is_normal(network.l[k].weight, width + D)
    assert is_normal(network.g[0].weight, WIDTH + 2 * D)
    for k in (1, 2):  # torch's own start: U(-b, b), b = 1 / sqrt(fan in)
        assert is_uniform(network.g[k].weight, 6 * (2 * D))
