"""The systems beside late fusion against dense float64 references, written from their equations."""

from typing import Any

import pytest
import torch
from conftest import catalogue_of, random_interactions
from test_variants import build, modalities
from torch import Tensor

from model.config import Config, Early, Lattice, Mmgcn, Mmlgcn, Train, Vbpr
from model.features import Modality
from model.interactions import Interactions
from model.sampling import Batch
from model.variants import variant_class
from model.variants.lattice import nearest

U, I, D = 20, 30, 8  # noqa: E741


@pytest.fixture
def train() -> Interactions:
    # Users 18, 19 and items 25..29 have no edge.
    drawn = random_interactions(18, 25, 90, 0)
    return Interactions.of(drawn.users, drawn.items, U, I)


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().double() for name, p in model.named_parameters()}


def final(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        users, items = model.eval()()
    return users.double(), items.double()


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def adjacency(train: Interactions) -> Tensor:
    a = torch.zeros(U + I, U + I, dtype=torch.float64)
    for u, i in zip(train.users.tolist(), train.items.tolist(), strict=True):
        a[u, U + i] = a[U + i, u] = 1
    return a


def lightgcn(train: Interactions, e: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    a = adjacency(train)
    d = a.sum(1).clamp(min=1) ** -0.5
    a = d[:, None] * a * d
    out = sum(torch.linalg.matrix_power(a, k) @ e for k in range(layers + 1)) / (layers + 1)
    return out[:U], out[U:]


def batch_of(train: Interactions) -> Batch:
    users = train.users[:40]
    items = torch.stack([train.items[:40], (train.items[:40] + 7) % I], dim=1)
    return Batch.of(users, items, (U, I))


# --- EF-MMLGCN (eq. 3) ---------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_early(train: Interactions, aggregate: str) -> None:
    options = Early(dropout=0.4, contrast=0.7, temperature=0.3)
    model = build("early", train, 2, aggregate=aggregate, early=options)
    w, made = weights(model), modalities(2, I)
    table = torch.cat([w["user_embedding"], w["item_embedding"]])
    users, e = lightgcn(train, table, 2)
    content = torch.zeros(I, D, dtype=torch.float64)
    for i in range(I):
        parts = [
            w[f"projection.linears.{j}.weight"] @ unit(m.vectors[i].double())
            + w[f"projection.linears.{j}.bias"]
            for j, m in enumerate(made)
            if m.present[i]
        ]
        if parts:
            stacked = torch.stack(parts)
            fused = stacked.mean(0) if aggregate == "mean" else stacked.amax(0)
            content[i] = w["w_agg.weight"] @ fused + w["w_agg.bias"]
    expected = torch.cat([e, content], dim=1) @ w["w_out.weight"].T + w["w_out.bias"]
    got_users, got_items = final(model)
    close(got_users, users)
    close(got_items, expected)

    # The symmetric NCE over the unique items of a batch that have content.
    batch = batch_of(train)
    model()
    with torch.inference_mode():
        tables = model.eval()()
        nce = float(model.auxiliary_loss(*tables, batch))
    has = torch.stack([m.present for m in made]).any(0)
    rows = [i for i in batch.items.unique().tolist() if has[i]]
    s = unit(e[rows]) @ unit(content[rows]).T / options.temperature
    loss = 0.0
    for r in range(len(rows)):
        loss += float(s[r].logsumexp(0) - s[r, r] + s[:, r].logsumexp(0) - s[r, r])
    assert nce == pytest.approx(0.7 * loss / (2 * len(rows)), rel=1e-5)


def test_early_drops_out_only_while_training(train: Interactions) -> None:
    model = build("early", train, 2, early=Early(dropout=0.5))
    with torch.inference_mode():
        torch.manual_seed(0)
        first, second = model.train()()[1], model()[1]
        assert not torch.allclose(first, second)
        assert torch.equal(model.eval()()[1], model()[1])


# --- MMLGCN (eq. 1) ------------------------------------------------------------------------


@pytest.mark.parametrize("output_layer", [True, False])
def test_mmlgcn(train: Interactions, output_layer: bool) -> None:
    model = build("mmlgcn", train, 3, mmlgcn=Mmlgcn(output_layer=output_layer))
    w = weights(model)
    parts = []
    for j in range(3):
        columns = slice(D * j, D * (j + 1))
        e = torch.cat([w["user_embedding"][:, columns], w["item_embedding"][:, columns]])
        parts.append(torch.cat(lightgcn(train, e, 2)) @ w[f"w.{j}.weight"].T)
    expected = torch.cat(parts, dim=1)
    if output_layer:
        expected = expected @ w["w_out.weight"].T
    users, items = final(model)
    assert users.shape[1] == (D if output_layer else 3 * D)
    close(users, expected[:U])
    close(items, expected[U:])


def test_mmlgcn_starts_from_the_modalities(train: Interactions) -> None:
    made = modalities(2, I)
    model = build("mmlgcn", train, 2)
    for j, modality in enumerate(made):
        start = model.item_embedding.detach()[:, D * j : D * (j + 1)]
        x = unit(modality.vectors[modality.present].double())
        design = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        there = start[modality.present].double()
        solution = torch.linalg.lstsq(design, there).solution
        close(design @ solution, there)  # an affine map of the normalised vectors
        bound = (6 / (U + I + D)) ** 0.5  # elsewhere Xavier-uniform, as in LightGCN
        absent = start[~modality.present]
        assert absent.abs().max() <= bound and absent.std() > bound / 3


# --- VBPR ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 2])
def test_vbpr(train: Interactions, count: int) -> None:
    options = Vbpr(regularization=0.3, bias_regularization=0.2, content_regularization=0.1)
    model = build("vbpr", train, count, vbpr=options)
    with torch.no_grad():
        model.bias.normal_()
    w = weights(model)
    f = torch.cat([torch.zeros(I, 0), *(m.vectors for m in modalities(count, I))], dim=1).double()
    scores = torch.zeros(U, I, dtype=torch.float64)
    for u in range(U):
        for i in range(I):
            scores[u, i] = w["bias"][i] + w["gamma_users"][u] @ w["gamma_items"][i]
            if count:
                scores[u, i] += w["theta_users"][u] @ (w["content"].T @ f[i])
                scores[u, i] += w["content_bias"][:, 0] @ f[i]
    users, items = final(model)
    close(users @ items.T, scores)

    batch, penalty = batch_of(train), 0.0
    for u, (i, j) in zip(batch.users.tolist(), batch.items.tolist(), strict=True):
        rows = [w["gamma_users"][u], w["gamma_items"][i], w["gamma_items"][j]]
        rows += [w["theta_users"][u]] if count else []
        penalty += 0.3 * sum(float(r @ r) for r in rows)
        penalty += 0.2 * float(w["bias"][i] ** 2) + 0.02 * float(w["bias"][j] ** 2)
    if count:
        penalty += 0.1 * float((w["content"] ** 2).sum() + (w["content_bias"] ** 2).sum())
    got = model.auxiliary_loss(*model(), batch)
    assert got.item() == pytest.approx(penalty / 40, rel=1e-5)


# --- MMGCN ---------------------------------------------------------------------------------


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def neighbour_mean(train: Interactions) -> Tensor:
    a = adjacency(train)
    return a / a.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("layers", [1, 3])
def test_mmgcn(train: Interactions, layers: int) -> None:
    options = Mmgcn(layers=layers, regularization=0.5)
    model = build("mmgcn", train, 3, mmgcn=options)
    w, made = weights(model), modalities(3, I)
    ids = torch.cat([w["user_id"], w["item_id"]])
    mean = neighbour_mean(train)
    outputs = []
    for m, modality in enumerate(made):
        f = modality.vectors.double()
        if modality.name == "image":
            f = f @ w[f"networks.{m}.reduce.weight"].T + w[f"networks.{m}.reduce.bias"]
        x = unit(torch.cat([w[f"networks.{m}.preference"], f]))
        for k in range(layers):
            name = f"networks.{m}.{{}}.{k}".format
            h = leaky(mean @ (x @ w[name("w") + ".weight"].T))
            hat = leaky(x @ w[name("l") + ".weight"].T + w[name("l") + ".bias"]) + ids
            both = torch.cat([h, hat], dim=1)
            x = leaky(both @ w[name("g") + ".weight"].T + w[name("g") + ".bias"])
        outputs.append(x)
    users, items = final(model)
    close(users, sum(outputs)[:U] / 3)
    for i in range(I):
        having = [m for m in range(3) if made[m].present[i]] or [0, 1, 2]
        close(items[i], sum(outputs[m][U + i] for m in having) / len(having))

    batch = batch_of(train)
    expected = torch.stack([w["user_id"][u] ** 2 for u in batch.users]).mean()
    expected += torch.stack([w["item_id"][i] ** 2 for i in batch.items.flatten()]).mean()
    expected += sum((w[f"networks.{m}.preference"] ** 2).mean() for m in range(3)) / 3
    got = model.auxiliary_loss(*model(), batch)
    assert got.item() == pytest.approx(0.5 * expected.item(), rel=1e-5)


# --- LATTICE -------------------------------------------------------------------------------


def dense_graph(x: Tensor, present: Tensor, k: int) -> Tensor:
    """Cosines, the k largest of each row kept, none below zero."""
    s = unit(x) @ unit(x).T
    kept = torch.zeros_like(s)
    for i in range(len(s)):
        if present[i]:
            row = s[i].masked_fill(~present, -torch.inf)
            for j in row.argsort(descending=True)[: min(k, int(present.sum()))]:
                kept[i, j] = max(float(s[i, j]), 0.0)
    return kept


def normalise(s: Tensor) -> Tensor:
    d = s.sum(1).clamp(min=1e-7) ** -0.5
    return d[:, None] * s * d


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("layers", [0, 2])
def test_lattice(train: Interactions, count: int, layers: int) -> None:
    k = 4
    options = Lattice(neighbors=k, layers=layers, feature_dimension=5, frozen_weight=0.7)
    model = build("lattice", train, count, lattice=options)
    if count > 1:
        with torch.no_grad():
            model.logits.copy_(torch.tensor([0.3, -1.0, 0.8]))
    w, made = weights(model), modalities(count, I)
    share = w["logits"].softmax(0) if count > 1 else torch.ones(1, dtype=torch.float64)
    has = torch.stack([m.present for m in made]).double()  # (n, I)
    per_item = share[:, None] * has
    per_item = per_item / per_item.sum(0).clamp(min=1e-12)

    learned = torch.zeros(I, I, dtype=torch.float64)
    frozen = torch.zeros(I, I, dtype=torch.float64)
    for j, m in enumerate(made):
        x = m.vectors.double()
        bias = w[f"graphs.{j}.transform.bias"]
        transformed = x @ w[f"graphs.{j}.transform.weight"].T + bias
        learned += per_item[j][:, None] * dense_graph(transformed, m.present, k)
        frozen += per_item[j][:, None] * normalise(dense_graph(x, m.present, k))
    a = 0.3 * normalise(learned) + 0.7 * frozen
    h = a @ w["item_embedding"]

    loops = adjacency(train) + torch.eye(U + I, dtype=torch.float64)
    loops = loops / loops.sum(1, keepdim=True)
    e = torch.cat([w["user_embedding"], w["item_embedding"]])
    out = sum(torch.linalg.matrix_power(loops, n) @ e for n in range(layers + 1)) / (layers + 1)
    users, items = final(model)
    close(users, out[:U])
    close(items, out[U:] + unit(h))

    batch, squares = batch_of(train), 0.0
    for u, (i, j) in zip(batch.users.tolist(), batch.items.tolist(), strict=True):
        squares += float(
            users[u].square().sum() + items[i].square().sum() + items[j].square().sum()
        )
    got = model.auxiliary_loss(*model(), batch)
    assert got.item() == pytest.approx(1e-5 * squares / 80, rel=1e-4)


def test_lattice_learns_its_graph(train: Interactions) -> None:
    """The gradient of the transform and of the modalities' weights is the finite difference."""
    model = build("lattice", train, 2, lattice=Lattice(neighbors=4, rebuild="epoch"))
    model = model.double()
    model()
    coefficients = torch.randn(I, D, dtype=torch.float64)
    names = ["logits", "graphs.0.transform.weight", "graphs.1.transform.bias"]
    parameters = dict(model.named_parameters())

    def loss() -> Tensor:
        return (model()[1] * coefficients).sum()

    loss().backward()
    for name in names:
        flat = parameters[name].data.view(-1)
        for place in (0, len(flat) - 1):
            kept, step = flat[place].item(), 1e-6
            values = []
            for sign in (1, -1):
                flat[place] = kept + sign * step
                values.append(loss().item())
            flat[place] = kept
            expected = (values[0] - values[1]) / (2 * step)
            assert parameters[name].grad.view(-1)[place].item() == pytest.approx(
                expected, rel=1e-4, abs=1e-7
            )


def test_lattice_rebuilds_when_asked(train: Interactions) -> None:
    for rebuild, same in (("epoch", True), ("step", False)):
        model = build("lattice", train, 1, lattice=Lattice(neighbors=4, rebuild=rebuild))
        model()
        before = model.graphs[0].pattern.columns
        with torch.no_grad():
            model.graphs[0].transform.weight.normal_()
        model()
        assert torch.equal(model.graphs[0].pattern.columns, before) == same
        model.begin_epoch()
        model()
        assert not torch.equal(model.graphs[0].pattern.columns, before)


def test_nearest_in_blocks_and_among_few() -> None:
    x = unit(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)))
    present = torch.arange(40) % 3 > 0
    whole, blocks = nearest(x, present, 5), nearest(x, present, 5, cells=60)
    assert torch.equal(whole.columns, blocks.columns)
    assert (whole.columns.view(-1, 5)[:, 0] == present.nonzero()[:, 0]).all()  # itself first
    assert present[whole.columns].all() and len(whole.columns) == 5 * int(present.sum())
    few = nearest(x, torch.arange(40) < 2, 5)
    assert sorted(few.columns.tolist()) == [0, 0, 1, 1]
    assert len(nearest(x, torch.zeros(40, dtype=torch.bool), 5).columns) == 0


@pytest.mark.parametrize("variant", ["early", "mmlgcn", "vbpr", "mmgcn", "lattice"])
def test_a_modality_that_nobody_has_changes_nothing_to_nan(
    variant: str, train: Interactions
) -> None:
    nobody = Modality("text", torch.zeros(I, 5), torch.zeros(I, dtype=torch.bool))
    for missing in ("skip", "zero", "mean"):
        settings: dict[str, Any] = {"dimension": D, "missing": missing}
        model = variant_class(variant)(catalogue_of(train, nobody), Config(2, Train(**settings)))
        for table in model():
            assert table.isfinite().all()
