"""Raw media → float32 (n, d): one module an encoder; no ids, no project paths.

Every module here that holds a concrete `Encoder` of the module's own name is an encoder: adding
one is adding a file. Modules import torch and the decoders inside the functions that need them,
so that reading what an encoder declares costs next to nothing.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from encoders.base import Encoder

FIRST = ("text", "image", "audio", "video")  # the paper's modalities, in its order


@cache
def encoder_classes() -> dict[str, type[Encoder]]:
    """Every encoder by its name, in the order of modalities, then of names.

    Raises:
        TypeError: an encoder is not named as its module is, or one of a modality takes texts and
            another files.
    """
    found: dict[str, type[Encoder]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and hasattr(value, "name") and not inspect.isabstract(value):
                if value.name != info.name:
                    raise TypeError(f"{module.__name__}: its encoder is named {value.name!r}")
                found[info.name] = cast("type[Encoder]", value)
    for name, encoder in found.items():
        for other, twin in found.items():
            if encoder.modality == twin.modality and encoder.takes_text != twin.takes_text:
                raise TypeError(f"{name} and {other}, both of {encoder.modality}: texts or files?")

    def place(name: str) -> tuple[int, str, str]:
        modality = found[name].modality
        return FIRST.index(modality) if modality in FIRST else len(FIRST), modality, name

    return {name: found[name] for name in sorted(found, key=place)}


def modalities() -> tuple[str, ...]:
    """The modalities that have an encoder: the paper's in its order, then others by name."""
    return tuple(dict.fromkeys(cls.modality for cls in encoder_classes().values()))


def encoders_of(modality: str) -> list[str]:
    """The names of a modality's encoders."""
    return [name for name, cls in encoder_classes().items() if cls.modality == modality]


def takes_text(modality: str) -> bool:
    """Whether a modality's column holds the texts themselves, and not paths of files."""
    return encoder_class(encoders_of(modality)[0]).takes_text


def encoder_class(name: str) -> type[Encoder]:
    """The class of that name. ValueError lists the valid names."""
    classes = encoder_classes()
    if name not in classes:
        raise ValueError(f"encoder {name!r} is not valid; valid: {', '.join(classes)}")
    return classes[name]
