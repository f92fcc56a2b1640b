"""The items before their media are drawn: topics, titles and texts."""

from dataclasses import dataclass

import numpy as np

from pipeline.synthetic.topics import TOPICS, Topic

SENTENCES = (
    "Expect {x} and {y}.",
    "It takes its time with {x}, then turns to {y}.",
    "Anyone who loves {label} will enjoy {x}.",
    "Between {x} and {y}, there is hardly a dull minute.",
    "The best moments belong to {x}.",
)
ASIDES = (
    "There is a touch of {label} too: {x}.",
    "A detour into {label} brings in {x}.",
    "Along the way it borrows {x} from the world of {label}.",
)


@dataclass(frozen=True)
class Item:
    """An item has a main topic and sometimes a second one, which weighs less."""

    item_id: str
    topic: Topic
    second: Topic | None
    share: float  # of the second topic, 0 where there is none
    title: str
    text: str


def draw_items(count: int, rng: np.random.Generator) -> list[Item]:
    """Draw `count` items: all topics equally often, no title twice.

    `count` is at most `capacity()`.
    """
    titles = {topic.name: iter(_titles(topic, rng)) for topic in TOPICS}
    result = []
    for number, main in enumerate(rng.permutation(np.arange(count) % len(TOPICS)), start=1):
        topic, second, share = TOPICS[main], None, 0.0
        if rng.random() < 0.4:
            second = TOPICS[(main + rng.integers(1, len(TOPICS))) % len(TOPICS)]
            share = rng.uniform(0.2, 0.45)
        title = next(titles[topic.name])
        text = _write_text(title, topic, second, rng)
        result.append(Item(f"item-{number:04d}", topic, second, share, title, text))
    return result


def capacity() -> int:
    """The largest number of items for which there are enough distinct titles."""
    return len(TOPICS) * min(len(_titles(topic, np.random.default_rng(0))) for topic in TOPICS)


def _titles(topic: Topic, rng: np.random.Generator) -> list[str]:
    """All titles of a topic in random order.

    Short titles and long ones, which have a tail, alternate. There are more long ones: what is
    left of them comes last.
    """
    short = [f"{a} {n}" for a in topic.adjectives.split("|") for n in topic.nouns.split("|")]
    long = [f"{title} {tail}" for title in short for tail in topic.tails.split("|")]
    rng.shuffle(short)
    rng.shuffle(long)
    return [title for pair in zip(short, long, strict=False) for title in pair] + long[len(short) :]


def _write_text(title: str, topic: Topic, second: Topic | None, rng: np.random.Generator) -> str:
    """Write one to three sentences, the first of which starts with the title."""
    x, y, z, w = rng.choice(topic.details.split("|"), 4, replace=False)
    sentences = [f"{title} {rng.choice(topic.leads.split('|'))}.".format(x=x, y=y)]
    if rng.random() < 0.7:
        sentences.append(str(rng.choice(SENTENCES)).format(x=z, y=w, label=topic.label))
    if second:
        aside = str(rng.choice(ASIDES))
        sentences.append(aside.format(x=rng.choice(second.details.split("|")), label=second.label))
    return " ".join(sentences)
