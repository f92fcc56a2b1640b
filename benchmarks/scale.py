"""Beyond one machine, on paper: 10^9 edges to train on, 10^8 items to encode.

    python -m benchmarks.scale [name=value]...

By what `python -m benchmarks.scale_measured training|encoding` found, which `ITEMS` and `STORE`
hold, and by what is assumed: `name` is a field of `Assumed`. Bytes, operations and sums over
processes are counted in the code of `model/` and `pipeline/encoding/`.
"""

import sys
from dataclasses import dataclass, replace

from encoders import encoder_class

HOUR, DAY = 3600, 86_400
SECTOR = 32  # bytes that a card reads at least


@dataclass(frozen=True)
class Assumed:
    """What is on no machine here, but for the two numbers that RESULTS.md has of an H100."""

    copy: float = 2.9e12  # measured: bytes a second that a card's memory moves
    images: float = 7680.0  # measured: ViT images a second that a card encodes, decoded already
    gather: float = 0.5  # share of `copy` that rows reach which are gathered from a large table
    launch: float = 4e-3  # seconds a step to launch it, without a graph (171 ms / 43, measured)
    memory: float = 80e9  # bytes of a card
    inside: float = 360e9  # bytes a second of a ring within a node (NVLink, 450 nominal)
    between: float = 320e9  # of a ring over nodes: a NIC of 400 Gb/s a card, eight rings
    storage: float = 5e9  # bytes a second that a node reads of shared storage
    cores: float = 24.0  # of a node, a card; each as fast as one here
    cards: int = 8  # of a node
    price: float = 3.0  # dollars an hour, of a card with its cores
    core_price: float = 0.04  # dollars an hour, of a core without a card
    epochs: int = 50
    users: float = 2e7
    edges: float = 1e9
    items: float = 1e8  # to encode
    dimension: int = 64


@dataclass(frozen=True)
class Step:
    """What one of R ranks does in a step of LightGCN, by counting in `model/`.

    `divided`: `users`, as it is built; `items`, users and items both; `numbers`, of every vector.
    """

    users: float
    items: float
    edges: float
    layers: int = 3
    ranks: int = 1
    batch: float = 8192
    dimension: int = 64
    number: int = 4  # bytes
    index: int = 8
    divided: str = "users"

    @property
    def size(self) -> float:
        """Numbers in the rank's tables."""
        rows = {"users": self.users / self.ranks + self.items}
        return rows.get(self.divided, (self.users + self.items) / self.ranks) * self.dimension

    @property
    def gathered(self) -> tuple[float, float]:
        """Entries of all products, forward and backward, and the numbers of each."""
        entries = 4 * self.layers * self.edges
        parts = (1, self.ranks) if self.divided == "numbers" else (self.ranks, 1)
        return entries / parts[0], self.dimension / parts[1]

    @property
    def passes(self) -> int:
        """Numbers moved per number of the tables, apart from Adam's seven.

        A layer clears and writes its output and adds E^(0); the last is scaled; all of it twice.
        Then the batch's gradients, cleared and written, and the penalty.
        """
        return (2 * (5 * self.layers + 2) if self.layers else 0) + 7

    @property
    def reduced(self) -> list[float]:
        """Bytes of every sum over ranks: the layers', the batch's, and how often it has items."""
        if self.divided == "numbers":
            return [2 * self.number * self.batch]
        if self.divided == "items" and not self.layers:  # vectors there, gradients back
            return [2 * self.number * self.batch * self.dimension / self.ranks] * 2
        table = self.number * self.dimension * self.items
        return [table] * (2 * self.layers + 1) + [8 * self.items]

    def held(self, card: bool) -> float:
        """Bytes: six tables at the peak, the edges, and an order of all of them.

        An edge is in users, items and the sampler's keys, in the graph two indices more and two
        values; a card has copies of users and items in the graph.
        """
        share = 1 if self.divided == "numbers" else self.ranks
        edge = 2 * self.index + 8
        if self.layers:
            edge += (4 if card else 2) * self.index + 2 * self.number
        return 6 * self.number * self.size + edge * self.edges / share + self.index * self.edges

    def on_cards(self, given: Assumed) -> tuple[float, float, float]:
        """Seconds of products, of tables, and of the network."""
        entries, width = self.gathered
        read = max(SECTOR, width * self.number) + self.index + self.number
        products = entries * read / given.copy / given.gather
        tables = (self.passes + 7) * self.number * self.size / given.copy
        ring = given.inside if self.ranks <= given.cards else given.between
        return products, tables, 2 * (self.ranks - 1) / self.ranks * sum(self.reduced) / ring


@dataclass(frozen=True)
class Media:
    """What an item of a modality costs: bytes to read, seconds of one core, operations."""

    encoder: str
    size: float
    decode: float  # seconds of a worker, the file's hash and the way to the driver included
    driver: float  # seconds of the process that has the network and the cache
    flops: float
    forward: float  # seconds of the network on a core here


@dataclass(frozen=True)
class Store:
    """What everything passes that is one a catalogue: seconds, bytes."""

    hashed: float  # bytes a second, of a core
    put: float  # vectors of 768 a second, into the cache
    kept: float  # bytes of the cache a byte of vectors
    written: float  # bytes of Parquet
    listed: float  # bytes of memory an item, of the list of what is to be encoded


ITEMS = (  # as `encoding` found them on 2026-11-27
    Media("minilm", 321, 0.0, 0.000134, 1.308e9, 0.0181),
    Media("vit", 260_008, 0.0134, 0.000576, 35.13e9, 0.441),
    Media("vggish", 160_749, 0.0440, 0.000775, 17.28e9, 0.194),
    Media("r2plus1d", 718_148, 0.235, 0.00357, 405.2e9, 8.18),
)
STORE = Store(1.811e9, 73_629, 1.042, 0.856, 530)


def row(*cells: object) -> None:
    """A line of a table; numbers with three digits."""
    shown = [f"{c:,.3g}" if isinstance(c, float) and c < 1000 else
             f"{c:,.0f}" if isinstance(c, float) else str(c) for c in cells]  # fmt: skip
    print("| " + " | ".join(shown) + " |")


def table(*names: str) -> None:
    print()
    row(*names)
    print("|" + "---|" * len(names))


def fitted(label: str, step: Step, given: Assumed) -> None:
    """A line: bytes of a card, seconds of a step and where they go, an epoch, a fit."""
    parts = step.on_cards(given)
    taken = sum(parts) + given.launch
    steps = given.edges / step.batch
    fit = given.epochs * steps * taken
    held = step.held(card=True)
    row(
        label, step.items, step.ranks, f"{held / 1e9:.0f}" + " **no**" * (held > given.memory),
        *parts, steps, steps * taken / HOUR, fit / DAY, fit / HOUR * step.ranks * given.price,
    )  # fmt: skip


COLUMNS = ("", "items", "cards", "GB a card", "products, s", "tables, s", "network, s",
           "steps an epoch", "hours an epoch", "days a fit", "dollars a fit")  # fmt: skip


def training(given: Assumed) -> None:
    base = Step(given.users, 1e7, given.edges, dimension=given.dimension)
    catalogues = [replace(base, items=items) for items in (1e7, 1e8)]
    table(*COLUMNS)
    for step in catalogues:
        for layers, ranks in ((2, 8), (3, 8), (3, 32)):
            built = replace(step, layers=layers, ranks=ranks)
            fitted(f"as built, K = {layers}", built, given)
    table(*COLUMNS)
    large = given.edges / 500
    small = {"number": 2, "index": 4}
    for step in catalogues:
        step = replace(step, ranks=8)
        for label, changes in (
            ("batches of E / 500", {"batch": large}),
            ("… and bfloat16, int32", {"batch": large, **small}),
            ("… and numbers divided", {"batch": large, **small, "divided": "numbers"}),
            ("batches of E / 500, items divided", {"batch": large, "divided": "items"}),
            ("… and bfloat16, int32", {"batch": large, **small, "divided": "items"}),
            ("K = 0 while training", {"layers": 0}),
            ("K = 0, batches of E / 500", {"layers": 0, "batch": large}),
            ("K = 0, items divided", {"layers": 0, "divided": "items"}),
        ):
            fitted(label, replace(step, **changes), given)  # type: ignore[arg-type]
    table("items, 8 cards", "GB summed a step", "six tables of items, GB", "items that fit",
          "GB in a node at the start", "PB of scores a validation", "s")  # fmt: skip
    for step in catalogues:
        step = replace(step, ranks=8)
        item = 6 * step.number * step.dimension
        rest = step.held(card=True) - item * step.items
        drawn = step.number * step.dimension * (step.users + step.items)
        scores = 4 * step.users * step.items  # written once and read once, at the very least
        row(
            step.items, sum(step.reduced) / 1e9, item * step.items / 1e9,
            (given.memory - rest) / item, step.ranks * (16 * step.edges + drawn) / 1e9,
            scores / 1e15, 2 * scores / given.copy / step.ranks,
        )  # fmt: skip
    seen = Step(6036, 3081, 346_501, dimension=512)
    entries, width = seen.gathered
    reached = entries * width * seen.number / (2 * seen.layers * 258e-6)
    print(
        f"\nMovieLens1M, d = 512, tables of {seen.number * seen.size / 1e6:.0f} MB: a card's "
        f"products (measured) gather {reached / 1e12:.1f} TB/s, {reached / given.copy:.1f} times "
        f"what a copy moves"
    )


def encoding(given: Assumed) -> None:
    vit = next(media for media in ITEMS if media.encoder == "vit")
    reached, pace = given.images * vit.flops, given.items / DAY
    print(
        f"\nViT reaches {reached / 1e12:.0f} TFLOP/s on a card; one process that has the card does "
        f"{1 / (vit.driver + 1 / given.images):,.0f} items/s (measured: 1,275, smaller pictures)"
    )
    table("an item", "bytes", "decoding, ms", "driver, ms", "GFLOP", "network here, ms",
          "network on a card, ms")  # fmt: skip
    for m in ITEMS:
        times = (m.decode, m.driver, m.forward, m.flops / reached)
        decode, driver, here, there = (1e3 * taken for taken in times)
        row(m.encoder, float(m.size), decode, driver, m.flops / 1e9, here, there)
    table(f"{given.items:.0e} items, as built", "TB read", "one process, items/s", "its cores",
          "storage", "days", "dollars", "core hours of hashing", "GB in Parquet",
          "GB in the cache")  # fmt: skip
    for m in ITEMS:
        process = 1 / (m.driver + m.flops / reached)  # in turn: it waits for the card
        cores = given.cores / (m.decode + m.driver)
        storage = given.storage / m.size
        taken = given.items / min(process, cores, storage)
        vectors = 4 * encoder_class(m.encoder).width * given.items / 1e9
        row(
            m.encoder, given.items * m.size / 1e12, process, cores, storage, taken / DAY,
            taken / HOUR * given.price, given.items * m.size / STORE.hashed / HOUR,
            vectors * STORE.written, vectors * STORE.kept,
        )  # fmt: skip
    table("in a day", "a process a card: cards", "dollars", "all cores busy: cards", "dollars",
          "decoded elsewhere: cards", "cores", "cores a card", "dollars", "GB/s read")  # fmt: skip
    for m in ITEMS:
        network, core = pace * m.flops / reached, pace * (m.decode + m.driver)
        busy = max(network, core / given.cores)
        built = max(network + pace * m.driver, busy)
        row(
            m.encoder, built, built * 24 * given.price, busy, busy * 24 * given.price,
            network, core, core / network,
            24 * (network * given.price + core * given.core_price), pace * m.size / 1e9,
        )  # fmt: skip
    print(
        f"\nOne driver lists {given.items * STORE.listed / 1e9:.0f} GB of items; one cache takes "
        f"{given.items / STORE.put / HOUR:.1f} hours of inserting, {STORE.put:,.0f} rows/s"
    )


def main() -> None:
    changes = dict(word.split("=") for word in sys.argv[1:])
    given = replace(Assumed(), **{n: type(getattr(Assumed, n))(v) for n, v in changes.items()})
    print(given)
    training(given)
    encoding(given)


if __name__ == "__main__":
    main()
