"""The softmax of cosines is late fusion with other parameters, whatever the others are told."""

import torch
from small import config_of
from test_contract import CPU, dataset

from model.config import Config
from model.embedding import EmbeddingSystem
from model.experiment import build, fit, system_class
from model.system import Run

OWN = {"temperature": 0.3, "negatives": 5, "learning_rate": 0.02}
OTHERS = {
    "propagation": "published", "loss": "bpr", "temperature": 9.0, "negatives": 1,
    "learning_rate": 0.5, "layer_weights": (1.0, 0.0, 0.0), "user_exponent": 0.1,
    "item_exponent": 0.9,
}  # fmt: skip


def fitted(system: str, config: Config) -> tuple[EmbeddingSystem, list[float]]:
    data = dataset()
    model = build(system_class(system), data.catalogue, config, 3)
    told = fit(model, data, Run(3), CPU)
    assert isinstance(model, EmbeddingSystem)
    return model, [row["train_loss"] for row in told.history]


def test_it_is_frozen_under_its_own_parameters() -> None:
    shared = {"epochs": 6, "regularization": 0.01, "projection": "learned"}
    made, losses = fitted("contrastive", config_of("contrastive", options=OWN, **shared, **OTHERS))
    other, expected = fitted("frozen", config_of("frozen", loss="softmax", **OWN, **shared))
    assert losses == expected
    for ours, theirs in zip(made.embeddings(), other.embeddings(), strict=True):
        assert torch.equal(ours, theirs)
