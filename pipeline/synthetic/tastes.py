"""Who likes what, and when."""

from collections.abc import Iterator

import numpy as np

from pipeline.synthetic.items import Item
from pipeline.synthetic.topics import TOPICS

FIRST_TIMESTAMP = 1_704_067_200  # 2024-01-01 00:00 UTC
MEAN_GAP = 5 * 86_400  # seconds between two interactions of a user


def draw_interactions(
    items: list[Item], users: int, mean: float, rng: np.random.Generator
) -> Iterator[tuple[str, str, int]]:
    """Yield (user_id, item_id, timestamp), user by user in order of time.

    A user likes one or two topics. The probability of an item is proportional to how well its
    topics match those, times its popularity, times noise. Nobody meets an item twice.

    Args:
        items: what there is to choose from.
        users: how many users to draw.
        mean: interactions of a user on average; nobody has fewer than four if there are as many
            items.
        rng: where all randomness comes from.
    """
    index = {topic.name: k for k, topic in enumerate(TOPICS)}
    mixture = np.zeros((len(items), len(TOPICS)))
    for row, item in zip(mixture, items, strict=True):
        row[index[item.topic.name]] = 1 - item.share
        if item.second:
            row[index[item.second.name]] = item.share
    # A long tail as in real catalogues, but a mild one.
    popularity = rng.permutation(np.arange(1, len(items) + 1) ** -0.25)
    for number in range(1, users + 1):
        likes = rng.choice(len(TOPICS), rng.integers(1, 3), replace=False)
        taste = np.full(len(TOPICS), 0.02)  # now and then anyone tries anything
        taste[likes] += rng.dirichlet(np.full(likes.size, 3.0))
        weight = (mixture @ taste) * popularity * rng.lognormal(0, 0.3, len(items))
        count = min(len(items), max(4, rng.poisson(mean)))
        chosen = rng.choice(len(items), count, replace=False, p=weight / weight.sum())
        gaps = 1 + rng.exponential(MEAN_GAP, count).astype(np.int64)
        for row, time in zip(chosen, FIRST_TIMESTAMP + np.cumsum(gaps), strict=True):
            yield f"user-{number:04d}", items[row].item_id, int(time)
