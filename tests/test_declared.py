"""A system is given what it declares to read, reads all of it, and nothing else."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import PLAIN, values_of
from test_contract import CPU, dataset

from model import systems
from model.config import (
    AGGREGATES,
    COLD_ITEMS,
    LIGHTGCN,
    LOSSES,
    MISSING,
    PROJECTIONS,
    PROPAGATIONS,
    PROTOCOLS,
    Config,
    SystemOptions,
    flatten,
    keys_read,
)
from model.experiment import build, fit, system_class
from model.lightgcn import LightGCN
from model.system import Run, System
from model.systems import SYSTEMS, options_class

CONTENT = replace(PLAIN.content, contrast=0.5, autoencoder=0.5)
# Under these values, nothing that several systems read is silenced.
AWAKE: dict[str, Any] = {"epochs": 2, "loss": "softmax", "content": CONTENT}
NAMES = {
    "aggregate": AGGREGATES, "propagation": PROPAGATIONS, "projection": PROJECTIONS,
    "protocol": PROTOCOLS, "train.loss": LOSSES, "train.missing": MISSING,
    "train.cold_items": COLD_ITEMS,
}  # fmt: skip


def another(key: str, value: Any) -> Any:
    """Another valid value of a parameter."""
    if key in NAMES:
        return next(name for name in NAMES[key] if name != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (0.5, 0.2, 0.3)
    return value + 1 if isinstance(value, int) else value / 2 + 0.1


def fitted(system: type[System], config: Config[Any]) -> System:
    data = dataset()
    model = build(system, data.catalogue, config, 3)
    fit(model, data, Run(3), CPU)
    return model


def scores(model: System) -> torch.Tensor:
    return model.scorer()(torch.arange(model.n_users))


def with_less(declared: type[SystemOptions], *keys: str) -> SystemOptions:
    """Options that leave something undeclared."""
    fewer: type[SystemOptions] = type("Options", (declared,), {"reads": declared.reads - {*keys}})
    return fewer()


@pytest.mark.parametrize("system", SYSTEMS)
def test_exactly_what_is_declared_is_recorded(system: str) -> None:
    """Of all parameters, each changed alone."""
    options, values = options_class(system)(), values_of(**AWAKE)
    config = Config.of(options, values)
    recorded = {key for key in config.record() if not key.startswith("options.")}
    assert recorded == options.reads - {"seed"}  # which counts beside the record
    for key, value in values.items():
        other = Config.of(options, values | {key: another(key, value)})
        assert (other.record() != config.record()) == (key in recorded), key
        if key not in options.reads:
            assert other == config, key


@pytest.mark.parametrize("system", SYSTEMS)
def test_exactly_what_is_recorded_is_given(system: str) -> None:
    config = Config.of(options_class(system)(), values_of(**AWAKE))
    given = {key: value for key, value in flatten(config).items() if not key.startswith("options.")}
    assert given == {key: v for key, v in values_of(**AWAKE).items() if key in config.record()}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_that_reads_what_it_does_not_declare_fails(system: str) -> None:
    """So it reads, too, each parameter that it declares."""
    cls, declared, values = system_class(system), options_class(system), values_of(**AWAKE)
    fitted(cls, Config.of(declared(), values))
    for key in sorted(declared.reads - {"seed"}):
        config = Config.of(with_less(declared, key), values)
        name = key.rpartition(".")[2]
        with pytest.raises(AttributeError, match=f"^{name} is not among what .* declare to read"):
            fitted(cls, config)


def test_a_new_system_that_reads_too_much_fails() -> None:
    class Options(SystemOptions):
        reads = LIGHTGCN

    class Greedy(LightGCN):
        def learning_rate(self, epoch: int) -> float:
            return float(self.config.train.learning_rate * len(self.config.aggregate))

    config = Config.of(Options(), values_of(**AWAKE))
    with pytest.raises(AttributeError, match="aggregate is not among"):
        fitted(Greedy, config)
    with pytest.raises(AttributeError, match="neighbors"):  # another system's own
        _ = config.options.neighbors  # type: ignore[attr-defined]


# Values under which other parameters are not read, and so are not there.
SILENCING: dict[str, dict[str, Any]] = {
    "the last epoch": {"protocol": "published"},
    "no propagation": {"propagation": "published"},
    "no layers": {"layers": 0},
    "neither": {"layers": 0, "propagation": "published", "protocol": "published"},
    "BPR": {"loss": "bpr"},
    "no contrast": {"content": replace(CONTENT, contrast=0.0)},
    "no losses": {"content": PLAIN.content},
}


@pytest.mark.parametrize("case", SILENCING)
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_silenced_is_not_missed(system: str, case: str) -> None:
    """It is not there, and the system is fitted all the same."""
    options, values = options_class(system)(), values_of(**AWAKE | SILENCING[case])
    config = Config.of(options, values)
    read = keys_read(options, values)
    assert {k for k in config.record() if not k.startswith("options.")} == read - {"seed"}
    assert scores(fitted(system_class(system), config)).isfinite().all()


@pytest.mark.parametrize("case", ["nothing", *SILENCING])
@pytest.mark.parametrize("part", ["none", "frozen", "alpha", "equal", "contentknn", "ease"])
def test_a_part_is_given_what_it_is_given_alone(part: str, case: str) -> None:
    values = values_of(**AWAKE | SILENCING.get(case, {}))
    whole = Config.of(options_class("blend")(parts=("frozen",)), values)  # type: ignore[call-arg]
    options = options_class(part)()
    assert whole.of_part(options) == Config.of(options, values)


def test_a_part_may_be_given_another_value_but_reads_no_more_than_the_whole() -> None:
    values = values_of(**AWAKE)
    whole, ials = Config.of(options_class("blend")(), values), options_class("ials")()
    given = whole.of_part(ials, **{"train.dimension": 7})
    assert given == Config.of(ials, values | {"train.dimension": 7})
    assert "dimension" not in vars(whole.train)
    for options in (ials, options_class("frozen")()):
        with pytest.raises(AttributeError, match="is not among what .* declare to read"):
            whole.of_part(options)


def test_what_each_value_silences() -> None:
    """By LF-MMLGCN's, which reads nearly everything."""
    declared = options_class("frozen")

    def silenced(case: str) -> set[str]:
        return set(declared.reads - keys_read(declared(), values_of(**AWAKE | SILENCING[case])))

    exponents = {"train.user_exponent", "train.item_exponent"}
    ends, weights = {"train.patience", "train.reject_positives"}, {"train.layer_weights"}
    assert {case: silenced(case) for case in SILENCING} == {
        "the last epoch": ends,
        "no propagation": exponents | weights,
        "no layers": exponents,
        "neither": ends | exponents | weights,
        "BPR": {"train.temperature"},
        "no contrast": {"train.content.temperature"},
        "no losses": {"train.content.temperature"},
    }


@pytest.mark.parametrize(
    ("system", "value", "unread", "read"),
    [
        ("early", {"contrast": 0.0}, {"temperature"}, {"dropout", "contrast"}),
        ("early", {}, set(), {"dropout", "contrast", "temperature"}),
        ("itemknn", {"similarity": "bm25"}, {"shrinkage"}, {"similarity", "neighbors", "k1", "b"}),
        ("itemknn", {}, {"k1", "b"}, {"similarity", "neighbors", "shrinkage"}),
    ],
)
def test_a_systems_own_are_recorded_as_far_as_they_are_read(
    system: str, value: dict[str, Any], unread: set[str], read: set[str]
) -> None:
    options = options_class(system)(**value)
    record = Config.of(options, values_of()).record()
    assert {k.removeprefix("options.") for k in record if k.startswith("options.")} == read
    assert {field.name for field in fields(options)} == read | unread
    for name in read | unread:
        other: Any = "cosine" if getattr(options, name) == "bm25" else "bm25"
        if name != "similarity":
            other = another(name, getattr(options, name))
        changed = Config.of(replace(options, **{name: other}), values_of())
        assert (changed.record() != record) == (name in read), name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "HALF = 0.5\nclass Options(SystemOptions):\n    share: float = HALF\n",
            "uses HALF; it may",
        ),
        ("class Option(SystemOptions): pass\n", "a class Options is needed"),
    ],
)
def test_options_that_cannot_be_read_by_themselves(
    source: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are not part of a module when they are read: its other names are not there."""
    (tmp_path / "halved.py").write_text(source)
    monkeypatch.setattr(systems, "__path__", [str(tmp_path)])
    with pytest.raises(TypeError, match=f"halved.py: .*{said}"):
        options_class.__wrapped__("halved")
