"""Approximate indexes side by side: recall, speed, size, by maximum inner product.

    python -m benchmarks.index [thousand items] [clustered gaussian] [ours faiss-hnsw …]

Items of trained shape (a few hundred centres, lengths with a long tail) and, as the hard case,
plain Gaussian ones; 64 numbers each. Exact lists are `rank`'s. A single query has one thread, a
batch and a build have all. Libraries that are not installed are named and left out.
"""

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from model.ranking import InnerProduct, rank
from pipeline.recommending.index import Index

D, QUERIES, SINGLE, CENTRES = 64, 1000, 200, 300
THREADS = torch.get_num_threads()
Search = Callable[[np.ndarray, int, int], np.ndarray]  # queries, k, threads -> items


def clustered(rng: np.random.Generator, count: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and users around common centres; an item's length grows with its popularity."""
    centres = rng.standard_normal((CENTRES, D))
    share = rng.dirichlet(np.full(CENTRES, 0.5))
    items = centres[rng.choice(CENTRES, count, p=share)] + 0.6 * rng.standard_normal((count, D))
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    items *= np.exp(0.35 * rng.standard_normal((count, 1)))
    liked = centres[rng.choice(CENTRES, (users, 3), p=share)]
    weight = rng.dirichlet(np.ones(3), users)[:, :, None]
    tastes = (liked * weight).sum(1) + 0.4 * rng.standard_normal((users, D))
    return items.astype(np.float32), tastes.astype(np.float32)


def gaussian(rng: np.random.Generator, count: int, users: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = rng.standard_normal((count + users, D)).astype(np.float32)
    return drawn[:count], drawn[count:]


def faiss_hnsw(items: np.ndarray, path: Path) -> Iterator[tuple[str, Search]]:
    import faiss

    index = faiss.IndexHNSWFlat(D, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 100
    index.add(items)
    faiss.write_index(index, str(path))
    for width in (64, 256, 1024):
        index.hnsw.efSearch = width

        def search(queries: np.ndarray, k: int, threads: int) -> np.ndarray:
            faiss.omp_set_num_threads(threads)
            return index.search(queries, k)[1]

        yield f"faiss HNSW, M 16, ef {width}", search
    faiss.omp_set_num_threads(THREADS)


def faiss_ivf(items: np.ndarray, path: Path) -> Iterator[tuple[str, Search]]:
    import faiss

    lists = int(4 * len(items) ** 0.5)
    codes = {
        "f32": None,
        "f16": faiss.ScalarQuantizer.QT_fp16,
        "8 bits": faiss.ScalarQuantizer.QT_8bit,
    }
    for kind, code in codes.items():
        arguments = (faiss.IndexFlatIP(D), D, lists)
        index = (
            faiss.IndexIVFFlat(*arguments, faiss.METRIC_INNER_PRODUCT)
            if code is None
            else faiss.IndexIVFScalarQuantizer(*arguments, code, faiss.METRIC_INNER_PRODUCT, False)
        )
        index.cp.niter = 10
        index.cp.max_points_per_centroid = 64
        index.train(items)
        index.add(items)
        faiss.write_index(index, str(path))
        for probes in (16, 64, 256):
            index.nprobe = probes

            def search(queries: np.ndarray, k: int, threads: int, index=index) -> np.ndarray:
                faiss.omp_set_num_threads(threads)
                return index.search(queries, k)[1]

            yield f"faiss IVF, {kind}, {lists} lists, {probes} probed", search
            faiss.omp_set_num_threads(THREADS)


def ours(items: np.ndarray, path: Path) -> Iterator[tuple[str, Search]]:
    index = Index.build(torch.from_numpy(items))
    index.save(path)
    for probes in (16, 64, 128, 256):

        def search(queries: np.ndarray, k: int, threads: int, probes=probes) -> np.ndarray:
            torch.set_num_threads(threads)  # faiss's too
            found, _ = index.search(torch.from_numpy(queries), k, probes=probes)
            return found.numpy()

        yield f"pipeline.recommending.index, {probes} probed", search
    torch.set_num_threads(THREADS)


def usearch(items: np.ndarray, path: Path) -> Iterator[tuple[str, Search]]:
    from usearch.index import Index

    for kind in ("f32", "f16"):
        index = Index(ndim=D, metric="ip", dtype=kind, connectivity=16, expansion_add=100)
        index.add(np.arange(len(items)), items)
        index.save(str(path))
        for width in (64, 256, 1024):

            def search(queries: np.ndarray, k: int, threads: int, index=index) -> np.ndarray:
                found = index.search(queries, k, threads=threads)
                return np.asarray(found.keys).reshape(len(queries), -1)

            index.expansion_search = width
            yield f"usearch, {kind}, M 16, ef {width}", search


def hnswlib(items: np.ndarray, path: Path) -> Iterator[tuple[str, Search]]:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=D)
    index.init_index(max_elements=len(items), ef_construction=100, M=16, random_seed=1)
    index.add_items(items)
    index.save_index(str(path))
    for width in (64, 256, 1024):
        index.set_ef(width)
        yield (
            f"hnswlib, M 16, ef {width}",
            lambda queries, k, threads: index.knn_query(queries, k, num_threads=threads)[0],
        )


CONTENDERS = {
    "ours": ours,
    "faiss-hnsw": faiss_hnsw,
    "faiss-ivf": faiss_ivf,
    "usearch": usearch,
    "hnswlib": hnswlib,
}


def exact(items: np.ndarray, users: np.ndarray) -> np.ndarray:
    """(users, 50) by `rank`, in blocks."""
    scorer = InnerProduct(torch.from_numpy(users), torch.from_numpy(items))
    return torch.cat([rank(scorer, b, 50)[0] for b in torch.arange(len(users)).split(16)]).numpy()


def single(call: Callable[[int], object], count: int) -> float:
    """Median milliseconds of a call for one user."""
    took = []
    for user in range(count):
        start = time.perf_counter()
        call(user)
        took.append(time.perf_counter() - start)
    return 1e3 * statistics.median(took)


def alone(items: np.ndarray, users: np.ndarray, count: int) -> str:
    """What one user costs exactly, among the first `count` items."""
    scorer = InnerProduct(torch.from_numpy(users), torch.from_numpy(items[:count]))
    text = []
    for threads in dict.fromkeys((1, THREADS)):
        torch.set_num_threads(threads)
        for k in (10, 50):
            ms = single(lambda user, k=k: rank(scorer, torch.tensor([user]), k), SINGLE)
            text.append(f"k {k} {ms:.2f} ms ({threads} threads)")
    torch.set_num_threads(THREADS)
    return f"exact, {count:,} items: " + ", ".join(text)


def measure(name: str, items: np.ndarray, users: np.ndarray, truth: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        start, contender = time.perf_counter(), CONTENDERS[name](items, path)
        for setting, search in contender:
            built = time.perf_counter() - start
            line = f"| {setting} | {built:.0f} s | {path.stat().st_size / 1e6:.0f} MB |"
            for k in (10, 50):
                began = time.perf_counter()
                found = search(users, k, THREADS)
                rate = len(users) / (time.perf_counter() - began)
                ms = single(lambda n, k=k, find=search: find(users[n : n + 1], k, 1), SINGLE)
                hits = [len(np.intersect1d(a, b)) for a, b in zip(found, truth[:, :k], strict=True)]
                line += f" {sum(hits) / truth[:, :k].size:.3f} | {ms:.2f} | {rate:,.0f} |"
            print(line, flush=True)
            start = time.perf_counter()


def main() -> None:
    arguments = sys.argv[1:]
    count = 1000 * int(arguments[0]) if arguments else 1_000_000
    chosen = [name for name in CONTENDERS if name in arguments] or list(CONTENDERS)
    draws = (clustered, gaussian)
    for draw in [draw for draw in draws if draw.__name__ in arguments] or draws:
        items, users = draw(np.random.default_rng(0), count, QUERIES)
        truth = exact(items, users)
        print(f"{draw.__name__}, {count:,} items")
        for size in (3000, count):
            print(alone(items, users, size), flush=True)
        print("| | build | file | recall@10 | ms | users/s | recall@50 | ms | users/s |")
        for name in chosen:
            try:
                importlib.import_module(name.split("-")[0].replace("ours", "faiss"))
            except ImportError:
                print(f"{name}: not installed")
                continue
            measure(name, items, users, truth)


if __name__ == "__main__":
    main()
