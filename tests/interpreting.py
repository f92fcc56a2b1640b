"""Runs functions of `model.kernels` by Triton's interpreter, which must be asked for at its start.

    TRITON_INTERPRET=1 python tests/interpreting.py <calls> <results>

`calls` is a list of (name, arguments), as torch saves it; `results` will be what they return.
"""

import sys
from typing import Any

import torch
import triton.runtime.interpreter as interpreter

from model import kernels

patching = interpreter._patch_lang_tensor


def patched(tensor: Any, scope: Any) -> None:
    """Its own `__index__` asks NumPy for what that no longer does."""
    patching(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


interpreter._patch_lang_tensor = patched
calls, results = sys.argv[1:]
torch.save([getattr(kernels, name)(*given) for name, given in torch.load(calls)], results)
