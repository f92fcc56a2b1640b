"""Orders and counts of small numbers."""

import pytest
import torch

from model.sorting import stable_order, starts


@pytest.mark.parametrize("below", [1, 2, 1000, 65_535, 65_536, 65_537, 1 << 24, (1 << 40) + 7])
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_equal_values_stand_as_they_stood(below: int, n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    values = torch.randint(below, (n,), generator=generator)
    values[n // 2 :] = values[: n - n // 2].flip(0)  # every one at least twice
    if n:
        values[0] = below - 1
    assert torch.equal(stable_order(values, below), torch.sort(values, stable=True).indices)


def test_where_each_begins() -> None:
    values = torch.tensor([4, 0, 2, 2, 4, 4])
    assert starts(values, 6).tolist() == [0, 1, 1, 3, 3, 6, 6]
    assert starts(values[:0], 2).tolist() == [0, 0, 0]
    assert starts(values[:0], 0).tolist() == [0]
