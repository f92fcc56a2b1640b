"""The precisions that a network can compute in."""

PRECISIONS = ("fp32", "bf16", "fp16")


def check_precision(precision: str, device: str) -> None:
    """ValueError if `precision` is none that an encoder takes on `device`."""
    # Without instructions for it, a convolution in half precision takes minutes on a CPU.
    valid = PRECISIONS[:2] if device == "cpu" else PRECISIONS
    if precision not in valid:
        raise ValueError(f"precision {precision!r} is not valid on {device}; {', '.join(valid)}")


def keep_fp32() -> None:
    """Have products and convolutions of float32 computed as such.

    On a card, cuDNN's convolutions would round what they multiply to 10 bits (TF32).
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
