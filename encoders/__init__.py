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

MODALITIES = ("text", "image", "audio", "video")


@cache
def encoder_classes() -> dict[str, type[Encoder]]:
    """Every encoder by its name, in the order of `MODALITIES`, then of names."""
    found: dict[str, type[Encoder]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            own = inspect.isclass(value) and value.__module__ == module.__name__
            if own and hasattr(value, "name") and not inspect.isabstract(value):
                if value.name != info.name:
                    raise TypeError(f"{module.__name__}: its encoder is named {value.name!r}")
                found[info.name] = cast("type[Encoder]", value)
    order = sorted(found, key=lambda name: (MODALITIES.index(found[name].modality), name))
    return {name: found[name] for name in order}


def encoder_class(name: str) -> type[Encoder]:
    """The class of that name. ValueError lists the valid names."""
    classes = encoder_classes()
    if name not in classes:
        raise ValueError(f"encoder {name!r} is not valid; valid: {', '.join(classes)}")
    return classes[name]
