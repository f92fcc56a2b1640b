"""params.yaml: what stands here is valid; what is wrong is refused with what is valid."""

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from functools import reduce
from math import nan, nextafter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from model.systems import options_class
from pipeline.common.files import InputError
from pipeline.common.params import Params, load

REPOSITORY = Path(__file__).parents[1]
YAML_1_2 = YAML(typ="safe", pure=True)
DATA = YAML_1_2.load(REPOSITORY / "params.yaml")
SYSTEMS = "systems"

SMALL = nextafter(0, 1)  # the least number above 0
AT_LEAST_0, AT_LEAST_1, AT_LEAST_4 = ([0], [-1]), ([1], [0, -1]), ([4], [3])
SEED = ([0, 2**63 - 1], [-1, 2**63, 2**64])  # beyond, no generator takes it
NOT_NEGATIVE, POSITIVE = ([0, 1e9], [-SMALL, nan]), ([SMALL, 1e9], [0, -1, nan])
SHARE = ([0, 0.9], [-SMALL, nextafter(0.9, 1), nan])
HALF = ([0, 0.5], [-SMALL, nextafter(0.5, 1), nan])
FRACTION = ([0, 1], [-SMALL, nextafter(1, 2), nan])
# Every number of params.yaml: values at its bounds, and the nearest ones beyond.
BOUNDS = {
    "world_size": AT_LEAST_1,
    "layers": ([0, 100], [-1, 101, 10**9]),
    "seed": SEED,
    "sample.seed": SEED,
    "sample.users": AT_LEAST_1,
    "sample.items": AT_LEAST_1,
    "sample.interactions_per_user": AT_LEAST_4,
    "prepare.seed": SEED,
    "prepare.validation": SHARE,
    "prepare.test": SHARE,
    "prepare.k_core": AT_LEAST_0,
    "prepare.max_failures": FRACTION,
    **{
        f"encode.{modality}.{key}": bounds
        for modality in ("text", "image", "audio", "video")
        for key, bounds in (
            ("batch_size", AT_LEAST_1),
            ("time_limit", ([SMALL, 86_400], [0, -1, 86_401, nan])),
            ("max_failures", FRACTION),
        )
    },
    "newcomers.items": HALF,
    "newcomers.users": HALF,
    "newcomers.seed": SEED,
    "train.dimension": AT_LEAST_1,
    "train.epochs": AT_LEAST_1,
    "train.batch_size": AT_LEAST_1,
    "train.learning_rate": POSITIVE,
    "train.regularization": NOT_NEGATIVE,
    "train.temperature": POSITIVE,
    "train.negatives": AT_LEAST_1,
    "train.id_dropout": ([0, 0.99], [-SMALL, nextafter(0.99, 1), nan]),
    "train.patience": AT_LEAST_1,
    "train.user_exponent": NOT_NEGATIVE,
    "train.item_exponent": NOT_NEGATIVE,
    "train.content.autoencoder": NOT_NEGATIVE,
    "train.content.contrast": NOT_NEGATIVE,
    "train.content.temperature": POSITIVE,
    f"{SYSTEMS}.early.dropout": ([0, 0.99], [-SMALL, nextafter(0.99, 1), nan]),
    f"{SYSTEMS}.early.contrast": NOT_NEGATIVE,
    f"{SYSTEMS}.early.temperature": POSITIVE,
    f"{SYSTEMS}.vbpr.learning_rate": POSITIVE,
    f"{SYSTEMS}.vbpr.regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.vbpr.bias_regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.vbpr.content_regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.mmgcn.learning_rate": POSITIVE,
    f"{SYSTEMS}.mmgcn.layers": ([1, 100], [0, 101]),
    f"{SYSTEMS}.mmgcn.regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.lattice.learning_rate": POSITIVE,
    f"{SYSTEMS}.lattice.decay": ([SMALL, 1], [0, nextafter(1, 2), nan]),
    f"{SYSTEMS}.lattice.layers": ([0, 100], [-1, 101]),
    f"{SYSTEMS}.lattice.neighbors": AT_LEAST_1,
    f"{SYSTEMS}.lattice.feature_dimension": AT_LEAST_1,
    f"{SYSTEMS}.lattice.frozen_weight": FRACTION,
    f"{SYSTEMS}.lattice.regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.blend.factors": AT_LEAST_1,
    f"{SYSTEMS}.contentknn.neighbors": AT_LEAST_1,
    f"{SYSTEMS}.contrastive.temperature": POSITIVE,
    f"{SYSTEMS}.contrastive.negatives": AT_LEAST_1,
    f"{SYSTEMS}.contrastive.learning_rate": POSITIVE,
    f"{SYSTEMS}.ease.regularization": POSITIVE,
    f"{SYSTEMS}.ease.dropout": ([0, 0.99], [-0.01, 1, nan]),
    f"{SYSTEMS}.ease.content_weight": NOT_NEGATIVE,
    f"{SYSTEMS}.ease.user_exponent": NOT_NEGATIVE,
    f"{SYSTEMS}.ease.item_exponent": NOT_NEGATIVE,
    f"{SYSTEMS}.ials.iterations": AT_LEAST_1,
    f"{SYSTEMS}.ials.unobserved_weight": POSITIVE,
    f"{SYSTEMS}.ials.regularization": NOT_NEGATIVE,
    f"{SYSTEMS}.ials.frequency_exponent": NOT_NEGATIVE,
    f"{SYSTEMS}.itemknn.neighbors": AT_LEAST_1,
    f"{SYSTEMS}.itemknn.shrinkage": NOT_NEGATIVE,
    f"{SYSTEMS}.itemknn.k1": NOT_NEGATIVE,
    f"{SYSTEMS}.itemknn.b": FRACTION,
}
FUSIONS = [
    "none", "frozen", "alpha", "unfrozen", "normalized", "equal", "early", "mmlgcn", "vbpr",
    "mmgcn", "lattice", "blend", "contentknn", "contrastive", "ease", "ials", "itemknn",
    "popularity", "random",
]  # fmt: skip
# Every name of params.yaml with all that it may be.
CHOICES = {
    "fusion": FUSIONS,
    "aggregate": ["mean", "sum", "max", "min", "prod", "concat", "ensemble"],
    "propagation": ["bipartite", "published"],
    "projection": ["fixed", "learned"],
    "protocol": ["validated", "published", "refit"],
    "weights": ["bundled", "pretrained"],
    "device": ["auto", "cpu", "cuda"],
    "engine": ["local", "ray"],
    "prepare.split": [
        "random",
        "temporal",
        "temporal_global",
        "leave_one_out",
        "cold_items",
    ],
    "encode.text.encoder": ["minilm"],
    "encode.image.encoder": ["vit", "clip"],
    "encode.audio.encoder": ["vggish", "vggish_pca"],
    "encode.video.encoder": ["r2plus1d", "r2plus1d_34"],
    **{
        f"encode.{modality}.precision": ["auto", "fp32", "bf16", "fp16"]
        for modality in ("text", "image", "audio", "video")
    },
    "train.loss": ["bpr", "softmax"],
    "train.cold_items": ["trained", "new"],
    "train.missing": ["skip", "zero", "mean"],
    f"{SYSTEMS}.lattice.rebuild": ["step", "epoch"],
    f"{SYSTEMS}.itemknn.similarity": ["cosine", "bm25"],
}


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every scalar in nested mappings; lists stay out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else name)
    elif not isinstance(value, list):
        yield key, value


def at(params: Params, key: str) -> Any:
    """What a dotted key holds after loading."""
    return reduce(
        lambda o, n: o[n] if isinstance(o, dict) else getattr(o, n), key.split("."), params
    )


def changed(tmp_path: Path, **changes: object) -> Path:
    """A copy of the repository's params.yaml with keys changed, dotted by `.` or `__`."""
    data = deepcopy(DATA)
    for dotted, value in changes.items():
        *parents, last = dotted.replace("__", ".").split(".")
        place = data
        for parent in parents:
            place = place[parent]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value
    path = tmp_path / "params.yaml"
    YAML_1_2.dump(data, path)
    return path


def refuses(key: str, error: pytest.ExceptionInfo[InputError]) -> bool:
    pattern = rf"params\.yaml: {re.escape(key)}: .* is not valid; valid: "
    return re.match(pattern, str(error.value)) is not None


def test_defaults_are_valid() -> None:
    params = load(REPOSITORY / "params.yaml")
    assert params.fusion == "frozen" and params.train.regularization == 1e-4


def test_every_scalar_has_its_values_here() -> None:
    scalars = dict(leaves(DATA))
    numbers = {key for key, value in scalars.items() if type(value) in (int, float)}
    assert numbers == BOUNDS.keys()
    texts = {key for key, value in scalars.items() if isinstance(value, str)}
    assert texts - {"dataset"} == CHOICES.keys()
    assert all(scalars[key] in CHOICES[key] for key in CHOICES)


@pytest.mark.parametrize("key", BOUNDS)
def test_numbers_up_to_their_bounds(tmp_path: Path, key: str) -> None:
    whole = BOUNDS[key] in (AT_LEAST_0, AT_LEAST_1, AT_LEAST_4, SEED)
    kind = int if whole or key.endswith("layers") else float
    other = {"prepare.validation": "prepare.test", "prepare.test": "prepare.validation"}.get(key)
    room = {other: 0.05} if other else {}  # both together stay below 1
    valid, invalid = BOUNDS[key]
    for value in valid:
        found = at(load(changed(tmp_path, **room, **{key: value})), key)
        assert found == value and type(found) is kind
    for value in [*invalid, True, "1", None, *([1.0] if kind is int else [])]:
        with pytest.raises(InputError) as error:
            load(changed(tmp_path, **room, **{key: value}))
        assert refuses(key, error)


@pytest.mark.parametrize("key", CHOICES)
def test_names_are_those_that_are_listed(tmp_path: Path, key: str) -> None:
    for name in CHOICES[key]:
        assert at(load(changed(tmp_path, **{key: name})), key) == name
    for value in (CHOICES[key][0].upper(), "none of these", 1, None):
        with pytest.raises(InputError) as error:
            load(changed(tmp_path, **{key: value}))
        assert refuses(key, error)
    with pytest.raises(InputError) as error:
        load(changed(tmp_path, **{key: "none of these"}))
    listed = str(error.value).split("; valid: ")[1].split(", ")
    assert sorted(name for name in listed if " " not in name) == sorted(CHOICES[key])


PARTS = ["ease", "ials", "itemknn", "contentknn", "none", "frozen", "alpha", "unfrozen",
         "normalized", "equal", "contrastive"]  # fmt: skip


def test_a_blend_has_parts_each_once(tmp_path: Path) -> None:
    key = f"{SYSTEMS}.blend.parts"
    for value in (PARTS, PARTS[::-1], *([part] for part in PARTS)):
        assert at(load(changed(tmp_path, **{key: value})), key) == tuple(value)
    said = {
        "at least one part": [[]],
        "each value once": [["ease", "ials", "ease"]],
        ", ".join(PARTS): [["ease", "blend"], ["none of these"], ["Ease"]],
        "a list": ["ease", None, 1],
        "a text": [["ease", 1], [None]],
    }
    for valid, values in said.items():
        for value in values:
            with pytest.raises(InputError, match=f"valid: {valid}") as error:
                load(changed(tmp_path, **{key: value}))
            assert refuses(key, error)


def test_the_file_shows_the_defaults_of_every_system() -> None:
    written = {
        name: {key: tuple(v) if isinstance(v, list) else v for key, v in own.items()}
        for name, own in DATA[SYSTEMS].items()
    }
    declared = {name: asdict(options_class(name)()) for name in FUSIONS}
    assert written == {name: own for name, own in declared.items() if own}


def test_what_a_system_is_not_told_has_its_default(tmp_path: Path) -> None:
    some = {SYSTEMS: {"vbpr": {"learning_rate": 0.25}}}
    params = load(changed(tmp_path, **some))
    assert asdict(params.systems["vbpr"]) == asdict(options_class("vbpr")()) | {
        "learning_rate": 0.25
    }
    assert asdict(params.systems["lattice"]) == asdict(options_class("lattice")())
    nothing = load(changed(tmp_path, **{SYSTEMS: {}})).systems
    assert nothing == {name: options_class(name)() for name in FUSIONS}
    assert nothing == load(REPOSITORY / "params.yaml").systems
    for name, own in DATA[SYSTEMS].items():
        assert load(changed(tmp_path, **{f"{SYSTEMS}.{name}": KeyError})).systems == nothing
        for key in own:
            less = changed(tmp_path, **{f"{SYSTEMS}.{name}.{key}": KeyError})
            assert load(less).systems == nothing


def test_a_rating_is_a_number_or_nothing(tmp_path: Path) -> None:
    for value in (None, 3, -1.5, 0):
        assert load(changed(tmp_path, prepare__min_rating=value)).prepare.min_rating == value
    for value in ("3", True, nan, float("inf"), [3]):
        with pytest.raises(InputError) as error:
            load(changed(tmp_path, prepare__min_rating=value))
        assert refuses("prepare.min_rating", error)


@pytest.mark.parametrize("value", ["", "  "])
def test_a_dataset_has_a_name(tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError) as error:
        load(changed(tmp_path, dataset=value))
    assert refuses("dataset", error)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: [1\n", b"a: !!python/x 1\n", b"a: \x01\n"]
)
def test_a_broken_file_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match="params.yaml: "):
        load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="params.yaml: not readable: is a directory"):
        load(path)


def test_what_is_not_read() -> None:
    params = load(REPOSITORY / "params.yaml")
    assert params.unread("frozen") == ["train.content.temperature", "train.temperature"]
    assert params.unread("none") == [
        "aggregate", "projection", "train.content", "train.id_dropout", "train.missing",
        "train.temperature",
    ]  # fmt: skip
    assert "systems.itemknn.k1" in params.unread("itemknn")
    assert "systems.itemknn.shrinkage" not in params.unread("itemknn")
    graph = ["layers", "propagation", "train.learning_rate", "train.loss", "train.missing"]
    assert {*graph, "train.dimension"} <= {*params.unread("blend")}
    fused = options_class("blend")(parts=("ease", "frozen"))  # type: ignore[call-arg]
    assert replace(params, systems=params.systems | {"blend": fused}).unread("blend") == [
        *params.unread("frozen"), "systems.blend.factors",
    ]  # fmt: skip
    early = replace(options_class("early")(), contrast=0.0)  # type: ignore[call-arg]
    without = replace(params, systems=params.systems | {"early": early})
    assert set(without.unread("early")) - set(params.unread("early")) == {
        "systems.early.temperature"
    }
    exponents = {"train.user_exponent", "train.item_exponent"}
    for changes, more in (
        ({"protocol": "published"}, {"train.patience", "train.reject_positives"}),
        ({"propagation": "published"}, exponents | {"train.layer_weights"}),
        ({"layers": 0}, exponents),
    ):
        now = replace(params, **changes)  # type: ignore[arg-type]
        assert set(now.unread("none")) - set(params.unread("none")) == more
    softmax = replace(params, train=replace(params.train, loss="softmax"))
    assert set(params.unread("none")) - set(softmax.unread("none")) == {"train.temperature"}
    # Fitted once more, whether it reads the protocol or not.
    assert "protocol" not in replace(params, protocol="refit").unread("popularity")
    everything = set(params.unread("popularity"))
    assert everything >= {"aggregate", "layers", "seed", "protocol", "train.dimension"}


def test_unknown_systems_and_keys_list_what_is_valid(tmp_path: Path) -> None:
    for name in FUSIONS:
        own = list(asdict(options_class(name)()))
        with pytest.raises(InputError) as error:
            load(changed(tmp_path, **{SYSTEMS: {name: {"zzz": 1}}}))
        message = f"params.yaml: unknown key {SYSTEMS}.{name}.zzz; valid: {', '.join(own)}"
        assert str(error.value) == message
    with pytest.raises(InputError) as error:
        load(changed(tmp_path, **{SYSTEMS: {"zzz": {}}}))
    assert (
        str(error.value) == f"params.yaml: unknown key {SYSTEMS}.zzz; valid: {', '.join(FUSIONS)}"
    )


def test_each_modality_keeps_its_own_values(tmp_path: Path) -> None:
    sizes = {f"encode.{m}.batch_size": n for n, m in enumerate(("video", "audio", "text"), 1)}
    params = load(changed(tmp_path, **sizes))
    assert {key: at(params, key) for key in sizes} == sizes
    assert list(params.encode) == ["text", "image", "audio", "video"]


@pytest.mark.parametrize("key", ["train.learning_rate", "systems.vbpr.regularization"])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_are_finite(tmp_path: Path, key: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"{key}: .* is not valid; valid: .*, finite"):
        load(changed(tmp_path, **{key: value}))


@pytest.mark.parametrize("value", [[0.0], [0.0, 0.0, 0.0, 1.0]])
def test_layer_weights_that_are_all_zero_at_a_depth(tmp_path: Path, value: list[float]) -> None:
    """K = 0 uses the first weight alone."""
    changes = {"train.layer_weights": value, "layers": 0, "study.layers": [0]}
    with pytest.raises(InputError, match="train.layer_weights.*one above 0 among the first 1"):
        load(changed(tmp_path, **changes))


def test_layer_weights_reach_the_deepest_model(tmp_path: Path) -> None:
    """The trained one or the study's, of which every depth takes its first weights."""

    def with_weights(count: int, layers: int, study: list[int]) -> Params:
        weights = [0.5] * count
        changes = {"train.layer_weights": weights, "layers": layers, "study.layers": study}
        return load(changed(tmp_path, **changes))

    for layers, study in ((1, [3, 0]), (3, [0, 1])):
        assert with_weights(4, layers, study).train.layer_weights == (0.5,) * 4
        assert len(with_weights(5, layers, study).train.layer_weights) == 5
        assert with_weights(0, layers, study).train.layer_weights == ()
        with pytest.raises(InputError, match="valid: .*4 weights for 3 layers"):
            with_weights(3, layers, study)
    for value in (0.5, [-0.1, 1, 1, 1, 1], ["a"]):
        with pytest.raises(InputError, match=r"train\.layer_weights"):
            load(changed(tmp_path, **{"train.layer_weights": value}))


def test_the_splits_leave_something_for_training(tmp_path: Path) -> None:
    shares = {"prepare.validation": 0.5, "prepare.test": 0.4999}
    assert load(changed(tmp_path, **shares)).prepare.validation == 0.5
    with pytest.raises(InputError, match=r"prepare.validation \+ prepare.test is 1.0; below 1"):
        load(changed(tmp_path, **(shares | {"prepare.test": 0.5})))


@pytest.mark.parametrize(
    ("key", "valid", "invalid"),
    [
        ("study.systems", ["vbpr", "none"], ["none", "none"]),
        ("study.layers", [2, 0], [2, 0, 2]),
        ("study.seeds", [0], [1, 1]),
    ],
)
def test_lists_of_the_study(
    tmp_path: Path, key: str, valid: list[object], invalid: list[object]
) -> None:
    assert at(load(changed(tmp_path, **{key: valid})), key) == valid  # in their order
    for value in (invalid, [], valid[0], [*valid, -1], [*valid, 1.5], [*valid, True], None):
        with pytest.raises(InputError, match=key.replace(".", r"\.")):
            load(changed(tmp_path, **{key: value}))


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"fusion": "bogus"}, ["fusion", "'bogus'", "none, frozen, alpha, unfrozen, normalized"]),
        ({"fuson": "frozen"}, ["fuson", "did you mean fusion?"]),
        ({"train__epoch": 3}, ["train.epoch", "did you mean epochs?"]),
        ({"layers": -1}, ["layers", "at least 0"]),
        ({"layers": 1.5}, ["layers", "a whole number"]),
        ({"layers": True}, ["layers", "a whole number"]),
        ({"seed": "nineteen"}, ["seed", "a whole number"]),
        ({"aggregate": "median"}, ["aggregate", "mean, sum, max, min, prod"]),
        ({"device": "gpu"}, ["device", "auto, cpu, cuda"]),
        ({"engine": "spark"}, ["engine", "local, ray"]),
        ({"weights": "bundeld"}, ["weights", "bundled", "pretrained"]),
        ({"train__learning_rate": 0}, ["train.learning_rate", "above 0"]),
        ({"train__regularization": 10**400}, ["train.regularization", "a number"]),
        ({"train__reject_positives": "no"}, ["train.reject_positives", "true or false"]),
        ({"train": 3}, ["train", "mapping"]),
        ({"study__systems": []}, ["study.systems", "at least one"]),
        ({"study__systems": ["none", "lste"]}, ["study.systems", "'lste'"]),
        ({"study__seeds": [1, 1]}, ["study.seeds", "once"]),
        ({"study__controls": ["placebo", "placebo"]}, ["study.controls", "each value once"]),
        ({"study__ablations": ["modalities"] * 2}, ["study.ablations", "each value once"]),
        ({"encode__image__encoder": "minilm"}, ["encode.image.encoder", "vit"]),
        ({"encode__image__encoder": "r2plus1d"}, ["encode.image.encoder", "valid: clip, vit"]),
        ({"systems__vpbr": {}}, ["systems.vpbr", "did you mean vbpr?", "valid: none, frozen"]),
        ({"systems__vbpr__k": 1}, ["systems.vbpr.k", "valid: learning_rate, regularization"]),
        ({"systems__vbpr": 3}, ["systems.vbpr must be a mapping"]),
        ({"systems": 3}, ["systems: 3", "or {}"]),
        ({"encode__smell": {}}, ["encode.smell", "text, image, audio, video"]),
        ({"encode": 3}, ["encode: 3", "text, image, audio, video"]),
        ({"encode__text": "minilm"}, ["encode.text must be a mapping"]),
        ({"encode__text__encode": "x"}, ["encode.text.encode", "did you mean encoder?"]),
        ({"train__zzz": 3}, ["unknown key train.zzz; valid: dimension, epochs, "]),
        (
            {"train__epochs": KeyError, "train__loss": KeyError},
            ["missing train.epochs, train.loss"],
        ),
        ({"encode__audio__precision": KeyError}, ["missing encode.audio.precision"]),
        ({"prepare__test": 0.95}, ["prepare.test", "at least 0 and at most 0.9"]),
        ({"dataset": 3}, ["dataset", "a text"]),
        ({"train__reject_positives": 1}, ["train.reject_positives", "true or false"]),
        ({"encode__video": KeyError}, ["missing encode.video"]),
        ({"dataset": KeyError}, ["missing dataset"]),
        ({"prepare__test": 0.9}, ["prepare.validation + prepare.test", "below 1"]),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, object], messages: list[str]) -> None:
    with pytest.raises(InputError) as error:
        load(changed(tmp_path, **changes))
    for message in messages:
        assert message in str(error.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not here"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("fusion: [frozen")
    with pytest.raises(InputError, match="params.yaml"):
        load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("")
    with pytest.raises(InputError, match="mapping"):
        load(tmp_path / "params.yaml")
