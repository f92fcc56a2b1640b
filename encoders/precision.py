"""The precisions that a network can compute in."""

PRECISIONS = ("fp32", "bf16", "fp16")


def check_precision(precision: str, device: str) -> None:
    """ValueError if `precision` is none that an encoder takes on `device`."""
    # Without instructions for it, a convolution in half precision takes minutes on a CPU.
    valid = PRECISIONS[:2] if device == "cpu" else PRECISIONS
    if precision not in valid:
        raise ValueError(f"precision {precision!r} is not valid on {device}; {', '.join(valid)}")
