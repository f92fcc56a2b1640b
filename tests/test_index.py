"""The approximate index: what it finds, in which order, and what it refuses."""

import sys

import pytest
import torch
from conftest import rounding
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.interactions import Interactions
from model.ranking import NOBODY, InnerProduct, rank
from pipeline.common.files import InputError
from pipeline.recommending.index import Index

ITEMS, USERS, D = 4000, 50, 16


def clustered(items: int = ITEMS) -> tuple[Tensor, Tensor]:
    """Users and items around common centres; items of unlike lengths."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(40, D, generator=draw)
    rows = centres[torch.randint(40, (items + USERS,), generator=draw)]
    rows += 0.5 * torch.randn(items + USERS, D, generator=draw)
    rows[USERS:] *= torch.exp(0.3 * torch.randn(items, 1, generator=draw))
    return rows[:USERS], rows[USERS:]


@pytest.fixture(scope="module")
def users() -> Tensor:
    return clustered()[0]


@pytest.fixture(scope="module")
def index() -> Index:
    return Index.build(clustered()[1])


def exact(users: Tensor, items: Tensor, k: int, **kept: object) -> tuple[Tensor, Tensor]:
    return rank(InnerProduct(users, items), torch.arange(len(users)), k, **kept)


def history(each: int, seed: int = 1) -> Interactions:
    draw = torch.Generator().manual_seed(seed)
    items = torch.randint(ITEMS, (USERS * each,), generator=draw)
    return Interactions.of(torch.arange(USERS).repeat_interleave(each), items, USERS, ITEMS)


def recall(found: Tensor, true: Tensor) -> float:
    return (found[:, :, None] == true[:, None]).any(1).float().mean().item()


def test_finds_nearly_all_of_the_best_in_few_lists(index: Index, users: Tensor) -> None:
    true, _ = exact(users, index.items, 10)
    found, _ = index.search(users, 10, probes=40)  # of 252
    assert 0.97 < recall(found, true) <= 1
    fewer, _ = index.search(users, 10, probes=1)
    assert recall(fewer, true) < 0.9  # so the lists do divide the catalogue


def test_all_lists_give_the_exact_ranking_with_what_is_hidden(index: Index, users: Tensor) -> None:
    seen = history(300)
    allowed = torch.rand(ITEMS, generator=torch.Generator().manual_seed(2)) < 0.5
    true, scores = exact(users, index.items, 20, seen=seen, allowed=allowed)
    found, found_scores = index.search(users, 20, hidden=seen, allowed=allowed, probes=10**6)
    assert torch.equal(found, true)
    apart = (found_scores - scores).abs()
    assert (apart <= rounding(InnerProduct(users, index.items), torch.arange(USERS))).all()


def test_scores_are_exact_and_fall(index: Index, users: Tensor) -> None:
    items, scores = index.search(users, 30)
    true = torch.einsum("ud,ukd->uk", users.double(), index.items[items].double())
    assert torch.equal(scores, true.float())
    assert (scores.diff(dim=1) <= 0).all()


def test_equal_scores_come_in_the_catalogues_order() -> None:
    users, items = clustered(300)
    index = Index.build(items.repeat(5, 1))  # every score five times, 300 rows apart
    found, scores = index.search(users, 20, probes=10**6)
    assert torch.equal(found[:, :5] % 300, found[:, :1].expand(-1, 5) % 300)
    assert torch.equal(found[:, :5] // 300, torch.arange(5).expand(USERS, 5))
    assert torch.equal(scores[:, :5], scores[:, :1].expand(-1, 5))


def test_hidden_items_never_come_back_and_k_are_found(index: Index, users: Tensor) -> None:
    best, _ = index.search(users, 200)
    rows = torch.arange(USERS).repeat_interleave(200)
    seen = Interactions.of(rows, best.flatten(), USERS, ITEMS)
    found, scores = index.search(users, 50, hidden=seen, probes=2)  # lists that are seen through
    assert not (found[:, :, None] == best[:, None]).any()
    assert (found != NOBODY).all() and scores.isfinite().all()
    assert all(len(row.unique()) == 50 for row in found)


def test_few_allowed_items_are_found_wherever_they_lie(index: Index, users: Tensor) -> None:
    allowed = torch.zeros(ITEMS, dtype=torch.bool)
    allowed[torch.tensor([3, 1777, 3999])] = True
    true, _ = exact(users, index.items, 5, allowed=allowed)
    found, scores = index.search(users, 5, allowed=allowed, probes=1)
    assert torch.equal(found, true)
    assert (found[:, 3:] == NOBODY).all() and (scores[:, 3:] == -torch.inf).all()


@pytest.mark.parametrize("k", [ITEMS - 1, ITEMS, ITEMS + 5])
def test_the_whole_catalogue_can_be_asked_for(index: Index, users: Tensor, k: int) -> None:
    true, _ = exact(users[:3], index.items, k)
    found, _ = index.search(users[:3], k)
    assert torch.equal(found, true)


def test_one_item_and_no_user() -> None:
    index = Index.build(torch.ones(1, 3))
    assert index.search(torch.ones(2, 3), 10)[0].tolist() == [[0], [0]]
    assert index.search(torch.ones(0, 3), 10)[0].shape == (0, 1)


def test_saved_and_loaded_it_answers_alike(index: Index, users: Tensor, tmp_path) -> None:
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index", index.items.clone())
    for ours, theirs in zip(index.search(users, 30), loaded.search(users, 30), strict=True):
        assert torch.equal(ours, theirs)
    Index.build(index.items).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "index").read_bytes()


def test_other_items_are_refused(index: Index, tmp_path) -> None:
    index.save(tmp_path / "index")
    changed = index.items.clone()
    changed[17, 3] += 1e-6
    for items in (changed, index.items[:-1], index.items.flip(0)):
        with pytest.raises(InputError, match="index of other items"):
            Index.load(tmp_path / "index", items)


def test_damaged_files_are_refused(index: Index, tmp_path) -> None:
    path = tmp_path / "index"
    with pytest.raises(InputError, match="index: not readable"):
        Index.load(path, index.items)
    index.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="not readable"):
        Index.load(path, index.items)
    path.write_bytes(whole)
    tensors = load_file(path)
    metadata = {"items_sha256": whole.split(b'items_sha256":"')[1][:64].decode()}
    tensors["lists"][5] = len(tensors["centres"])
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="damaged"):
        Index.load(path, index.items)
    save_file({"centres": tensors["centres"]}, path, metadata)
    with pytest.raises(InputError, match="not readable"):
        Index.load(path, index.items)


def test_without_faiss_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"pip install multimodal-recommender\[index\]"):
        Index.build(torch.ones(4, 2))
