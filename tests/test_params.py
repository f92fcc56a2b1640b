"""params.yaml: what stands here is valid; what is wrong is refused with what is valid."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.files import InputError
from pipeline.params import load

REPOSITORY = Path(__file__).parents[1]


def changed(tmp_path: Path, **changes: object) -> Path:
    """A copy of the repository's params.yaml with dotted keys changed."""
    yaml = YAML(typ="safe", pure=True)
    data = yaml.load(REPOSITORY / "params.yaml")
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value
    path = tmp_path / "params.yaml"
    yaml.dump(data, path)
    return path


def test_defaults_are_valid() -> None:
    params = load(REPOSITORY / "params.yaml")
    assert params.fusion == "frozen" and params.train.regularization == 1e-4


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
        ({"weights": "bundeld"}, ["weights", "bundled", "pretrained"]),
        ({"train__learning_rate": 0}, ["train.learning_rate", "above 0"]),
        ({"train__reject_positives": "no"}, ["train.reject_positives", "true or false"]),
        ({"train": 3}, ["train", "mapping"]),
        ({"study__variants": []}, ["study.variants", "at least one"]),
        ({"study__variants": ["none", "lste"]}, ["study.variants", "'lste'"]),
        ({"study__seeds": [1, 1]}, ["study.seeds", "once"]),
        ({"encode__image__encoder": "minilm"}, ["encode.image.encoder", "vit"]),
        ({"encode__smell": {}}, ["encode.smell", "text, image, audio, video"]),
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
