"""The systems beside late fusion against dense float64 references, written from their equations."""

import pytest
import torch
from conftest import catalogue_of, random_interactions
from small import config_of, tables
from test_systems import build, fitter_of, modalities
from torch import Tensor

from model.config import MISSING
from model.dataset import Modality
from model.embedding import EmbeddingSystem
from model.evaluation import evaluate
from model.experiment import system_class
from model.interactions import Interactions
from model.item_graph import nearest
from model.metrics import SELECTION
from model.sampling import Batch
from model.sparse import PATTERN_FIELDS, Pattern

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
        users, items = tables(model.eval())
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


def batch_of(train: Interactions, negatives: int = 1) -> Batch:
    users = train.users[:40]
    columns = [(train.items[:40] + 7 * n) % I for n in range(1 + negatives)]
    return Batch.of(users, torch.stack(columns, dim=1), (U, I))


def treated(modality: Modality, missing: str) -> tuple[Tensor, list[bool]]:
    """x (I, w) in float64 as a policy leaves it, and whether an average counts each item."""
    x, present = modality.vectors.double(), modality.present.tolist()
    if missing == "skip":
        return x, present
    if missing == "mean":
        mean = sum(x[i] for i in range(I) if present[i]) / sum(present)
        x = torch.stack([x[i] if present[i] else mean for i in range(I)])
    return x, [True] * I


# --- EF-MMLGCN (eq. 3) ---------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", ["mean", "max"])
@pytest.mark.parametrize("missing", MISSING)
def test_early(train: Interactions, aggregate: str, missing: str) -> None:
    options = dict(dropout=0.4, contrast=0.7, temperature=0.3)
    model = build("early", train, 2, aggregate=aggregate, options=options, missing=missing)
    w, made = weights(model), modalities(2, I)
    table = torch.cat([w["user_embedding"], w["item_embedding"]])
    users, e = lightgcn(train, table, 2)
    content = torch.zeros(I, D, dtype=torch.float64)
    for i in range(I):
        parts = []
        for j, m in enumerate(made):
            x, counted = treated(m, missing)
            weight, bias = (w[f"projection.linears.{j}.{part}"] for part in ("weight", "bias"))
            if counted[i]:  # under `zero`, what is absent is a zero vector, without a bias
                absent = missing == "zero" and not m.present[i]
                parts.append(torch.zeros_like(bias) if absent else weight @ unit(x[i]) + bias)
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
    with torch.inference_mode():
        nce = float(model.auxiliary(model.eval()(), batch))
    has = torch.stack([m.present for m in made]).any(0)
    rows = [i for i in batch.items.unique().tolist() if has[i]]
    s = unit(e[rows]) @ unit(content[rows]).T / 0.3
    loss = 0.0
    for r in range(len(rows)):
        loss += float(s[r].logsumexp(0) - s[r, r] + s[:, r].logsumexp(0) - s[r, r])
    assert nce == pytest.approx(0.7 * loss / (2 * len(rows)), rel=1e-5)


def test_early_drops_out_only_while_training(train: Interactions) -> None:
    model = build("early", train, 2, options=dict(dropout=0.5))
    with torch.inference_mode():
        torch.manual_seed(0)
        first, second = model.train()().items, model().items
        assert not torch.allclose(first, second)
        assert torch.equal(model.eval()().items, model().items)


def test_early_drops_out_what_each_layer_multiplies(train: Interactions) -> None:
    """W_out and W_agg set to let one part through each: half of it is zero, half is doubled."""
    model = build("early", train, 1, dimension=64, options=dict(dropout=0.5)).train()
    with torch.no_grad():
        for layer in (model.w_out, model.w_agg):
            layer.bias.zero_()
        model.w_agg.weight.copy_(torch.eye(64))
        for part, whole in (
            (
                0,
                lightgcn(
                    train, torch.cat([model.user_embedding, model.item_embedding]).double(), 2
                )[1],
            ),
            (1, model.projection()[0].double()),
        ):
            model.w_out.weight.zero_()[:, 64 * part : 64 * (part + 1)] = torch.eye(64)
            items, rows = model().items.double(), modalities(1, I)[0].present
            ratio = (items / whole)[rows]
            expected = (0, 2) if part == 0 else (0, 4)  # the content passes two layers
            assert all(min(abs(r - e) for e in expected) < 1e-3 for r in ratio.flatten().tolist())
            share = 0.5 if part == 0 else 0.25
            assert abs(float((ratio > 1).double().mean()) - share) < 0.1


# --- MMLGCN (eq. 1) ------------------------------------------------------------------------


@pytest.mark.parametrize("output_layer", [True, False])
def test_mmlgcn(train: Interactions, output_layer: bool) -> None:
    model = build("mmlgcn", train, 3, options=dict(output_layer=output_layer))
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


@pytest.mark.parametrize("missing", MISSING)
def test_mmlgcn_starts_from_the_modalities(train: Interactions, missing: str) -> None:
    made = modalities(2, I)
    model = build("mmlgcn", train, 2, missing=missing)
    for j, modality in enumerate(made):
        start = model.item_embedding.detach()[:, D * j : D * (j + 1)]
        x = unit(modality.vectors[modality.present].double())
        design = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        there = start[modality.present].double()
        solution = torch.linalg.lstsq(design, there).solution
        close(design @ solution, there)  # an affine map of the normalised vectors
        bound = (6 / (U + I + D)) ** 0.5
        absent = start[~modality.present]
        if missing == "skip":  # Xavier-uniform, as in LightGCN
            assert absent.abs().max() <= bound and absent.std() > bound / 3
        elif missing == "zero":
            assert not absent.any()
        else:
            mean = unit(treated(modality, "mean")[0])[~modality.present]
            ones = torch.ones(len(mean), 1, dtype=torch.float64)
            close(absent.double(), torch.cat([mean, ones], dim=1) @ solution)


# --- VBPR ----------------------------------------------------------------------------------


def regularized(model: EmbeddingSystem, batch: Batch) -> float:
    """All terms of the objective beside the ranking loss."""
    auxiliary = model.auxiliary(model(), batch)
    terms = [float(term.value().detach()) for term in model.penalty(batch)]
    return sum(terms) + (0.0 if auxiliary is None else auxiliary.item())


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("missing", MISSING)
def test_vbpr(train: Interactions, count: int, negatives: int, missing: str) -> None:
    options = dict(regularization=0.3, bias_regularization=0.2, content_regularization=0.1)
    model = build("vbpr", train, count, options=options, missing=missing)
    with torch.no_grad():
        model.bias.normal_()
    w = weights(model)
    filled = [treated(m, missing)[0] for m in modalities(count, I)]
    f = torch.cat([torch.zeros(I, 0, dtype=torch.float64), *filled], dim=1)
    scores = torch.zeros(U, I, dtype=torch.float64)
    for u in range(U):
        for i in range(I):
            scores[u, i] = w["bias"][i] + w["gamma_users"][u] @ w["gamma_items"][i]
            if count:
                scores[u, i] += w["theta_users"][u] @ (w["content"].T @ f[i])
                scores[u, i] += w["content_bias"][:, 0] @ f[i]
    users, items = final(model)
    close(users @ items.T, scores)

    batch, penalty = batch_of(train, negatives), 0.0
    for u, (i, *drawn) in zip(batch.users.tolist(), batch.items.tolist(), strict=True):
        for j in drawn:  # every triple, halved as in Cornac
            rows = [w["gamma_users"][u], w["gamma_items"][i], w["gamma_items"][j]]
            rows += [w["theta_users"][u]] if count else []
            penalty += 0.15 * sum(float(r @ r) for r in rows) / negatives
            biases = float(w["bias"][i] ** 2), float(w["bias"][j] ** 2)
            penalty += (0.1 * biases[0] + 0.01 * biases[1]) / negatives
    if count:
        penalty += 0.05 * float((w["content"] ** 2).sum() + (w["content_bias"] ** 2).sum())
    assert regularized(model, batch) == pytest.approx(penalty / 40, rel=1e-5)


def test_vbpr_has_a_learning_rate_of_its_own(train: Interactions) -> None:
    model = build("vbpr", train, 1, options=dict(learning_rate=0.007), learning_rate=0.5)
    assert model.learning_rate(1) == model.learning_rate(90) == 0.007


# --- MMGCN ---------------------------------------------------------------------------------


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def neighbour_mean(train: Interactions) -> Tensor:
    a = adjacency(train)
    return a / a.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("missing", MISSING)
def test_mmgcn(train: Interactions, layers: int, missing: str) -> None:
    options = dict(layers=layers, regularization=0.5)
    model = build("mmgcn", train, 3, options=options, missing=missing)
    w, made = weights(model), modalities(3, I)
    ids = torch.cat([w["user_id"], w["item_id"]])
    mean = neighbour_mean(train)
    outputs = []
    for m, modality in enumerate(made):
        f = treated(modality, missing)[0]
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
        having = [m for m in range(3) if treated(made[m], missing)[1][i]] or [0, 1, 2]
        close(items[i], sum(outputs[m][U + i] for m in having) / len(having))

    batch = batch_of(train, negatives=2)
    expected = torch.stack([w["user_id"][u] ** 2 for u in batch.users]).mean()
    expected += torch.stack([w["item_id"][i] ** 2 for i in batch.items.flatten()]).mean()
    expected += sum((w[f"networks.{m}.preference"] ** 2).mean() for m in range(3)) / 3
    assert regularized(model, batch) == pytest.approx(0.5 * expected.item(), rel=1e-5)


# --- LATTICE -------------------------------------------------------------------------------


def among(pattern: Pattern, x: Tensor, present: Tensor, k: int) -> Tensor:
    """The dense graph of `pattern`, which must hold k nearest ones of every row, itself first."""
    s = unit(x) @ unit(x).T
    kept = torch.zeros_like(s)
    for i in range(len(s)):
        mine = pattern.columns[pattern.offsets[i] : pattern.offsets[i + 1]].tolist()
        if not present[i]:
            assert not mine
            continue
        assert len(set(mine)) == len(mine) == min(k, int(present.sum())) and mine[0] == i
        row = s[i].masked_fill(~present, -torch.inf)
        row[i] = torch.inf
        nearest_ones = row.sort(descending=True).values[: len(mine)]
        close(row[mine].sort(descending=True).values[1:], nearest_ones[1:])
        for j in mine:
            kept[i, j] = max(float(s[i, j]), 0.0)
    return kept


def normalise(s: Tensor) -> Tensor:
    d = s.sum(1).clamp(min=1e-7) ** -0.5
    return d[:, None] * s * d


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("layers", "negatives"), [(0, 1), (2, 3)])
@pytest.mark.parametrize("missing", MISSING)
def test_lattice(
    train: Interactions, count: int, layers: int, negatives: int, missing: str
) -> None:
    k = 4
    options = dict(neighbors=k, layers=layers, feature_dimension=5, frozen_weight=0.7)
    model = build("lattice", train, count, options=options, missing=missing)
    if count > 1:
        with torch.no_grad():
            model.logits.copy_(torch.tensor([0.3, -1.0, 0.8]))
    w, made = weights(model), modalities(count, I)
    share = w["logits"].softmax(0) if count > 1 else torch.ones(1, dtype=torch.float64)
    has = torch.tensor([treated(m, missing)[1] for m in made]).double()  # (n, I)
    per_item = share[:, None] * has
    per_item = per_item / per_item.sum(0).clamp(min=1e-12)

    learned = torch.zeros(I, I, dtype=torch.float64)
    frozen = torch.zeros(I, I, dtype=torch.float64)
    for j, m in enumerate(made):
        (x, counted), graph = treated(m, missing), model.graphs[j]
        present, bias = torch.tensor(counted), w[f"graphs.{j}.transform.bias"]
        transformed = x @ w[f"graphs.{j}.transform.weight"].T + bias
        # Which of equal rows (the absent ones) are neighbours is open: the model's are taken.
        learned_pattern, frozen_pattern = graph.learned(True)[0], graph.frozen.pattern
        learned += per_item[j][:, None] * among(learned_pattern, transformed, present, k)
        frozen += per_item[j][:, None] * normalise(among(frozen_pattern, x, present, k))
    a = 0.3 * normalise(learned) + 0.7 * frozen
    h = a @ w["item_embedding"]

    loops = adjacency(train) + torch.eye(U + I, dtype=torch.float64)
    loops = loops / loops.sum(1, keepdim=True)
    e = torch.cat([w["user_embedding"], w["item_embedding"]])
    out = sum(torch.linalg.matrix_power(loops, n) @ e for n in range(layers + 1)) / (layers + 1)
    users, items = final(model)
    close(users, out[:U])
    close(items, out[U:] + unit(h))

    batch, squares = batch_of(train, negatives), 0.0
    for u, (i, *drawn) in zip(batch.users.tolist(), batch.items.tolist(), strict=True):
        for j in drawn:
            rows = users[u], items[i], items[j]
            squares += sum(float(row.square().sum()) for row in rows) / negatives
    got = model.auxiliary(model(), batch)
    assert got.item() == pytest.approx(1e-5 * squares / 80, rel=1e-4)


def test_lattice_learns_its_graph(train: Interactions) -> None:
    """The gradient of the transform and of the modalities' weights is the finite difference."""
    model = build("lattice", train, 2, options=dict(neighbors=4, rebuild="epoch"))
    model = model.double()
    model()
    coefficients = torch.randn(I, D, dtype=torch.float64)
    names = ["logits", "graphs.0.transform.weight", "graphs.1.transform.bias"]
    parameters = dict(model.named_parameters())

    def loss() -> Tensor:
        return (model().items * coefficients).sum()

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


def test_lattice_keeps_its_neighbours_in_one_place(train: Interactions) -> None:
    """A card that replays a step reads them there."""
    model = build("lattice", train, 2, options=dict(neighbors=4, rebuild="epoch"))
    model.train()
    model.begin_epoch()
    graph = model.graphs[0]
    before = graph.pattern
    old = {name: getattr(before, name).clone() for name in PATTERN_FIELDS}
    with torch.no_grad():
        graph.transform.weight.normal_()
    model.begin_epoch()
    assert graph.pattern is before
    assert any(not torch.equal(getattr(before, n), old[n]) for n in PATTERN_FIELDS)
    assert all(getattr(before, n).shape == old[n].shape for n in PATTERN_FIELDS)


def test_lattice_has_a_schedule_of_its_own(train: Interactions) -> None:
    """The official code multiplies by 0.96^(e / 50) after e epochs, fractions included."""
    model = build("lattice", train, 1, options=dict(learning_rate=0.3, decay=0.5))
    for epoch, expected in ((1, 0.3), (26, 0.3 * 0.5**0.5), (51, 0.15), (60, 0.15 * 0.5**0.18)):
        assert model.learning_rate(epoch) == pytest.approx(expected, rel=1e-12)


def test_lattice_survives_negative_similarities(train: Interactions) -> None:
    """Rows whose every neighbour but themselves lies opposite spread nothing, and stay finite."""
    x = torch.eye(I, 2)[torch.arange(I) % 2] * (1 - 2 * (torch.arange(I)[:, None] % 4 // 2))
    content = Modality("text", x, torch.ones(I, dtype=torch.bool))
    pattern = nearest(unit(x), torch.arange(I), I)
    model = system_class("lattice")(
        catalogue_of(train, content), config_of("lattice", options={"neighbors": I})
    )
    values = model.graphs[0].frozen.values
    assert len(pattern.columns) == I * I and (values >= 0).all() and values.isfinite().all()
    assert (model.graphs[0].learned(True)[1] >= 0).all()


@pytest.mark.parametrize("rebuild", ["step", "epoch"])
def test_lattice_is_evaluated_as_it_was_when_best(train: Interactions, rebuild: str) -> None:
    validation = random_interactions(U, I, 60, 5)
    model = build(
        "lattice", train, 2, dimension=16, epochs=30, patience=30, batch_size=16,
        options=dict(neighbors=4, learning_rate=0.05, frozen_weight=0.0, rebuild=rebuild),
    )  # fmt: skip
    fit = fitter_of(model, train, validation).run()
    users, items = model.embeddings()
    now = evaluate(lambda u: users[u] @ items.T, seen=train, relevant=validation).values()[
        SELECTION
    ]
    best = max(row["ndcg@10"] for row in fit.history)
    assert float(now) == pytest.approx(best, abs=1e-12)
    assert fit.best_epoch < len(fit.history)  # or nothing would be shown


@torch.inference_mode()
def test_lattice_rebuilds_when_asked(train: Interactions) -> None:
    for rebuild, follows in (("epoch", False), ("step", True)):
        model = build("lattice", train, 1, options=dict(neighbors=4, rebuild=rebuild))
        model.begin_epoch()
        model()
        model.graphs[0].transform.weight.normal_()
        within = model().items
        evaluated = model.eval()().items
        still = model.train()().items
        model.begin_epoch()
        anew = model().items
        assert torch.equal(within, still) and torch.equal(evaluated, anew)
        assert torch.equal(within, anew) == follows


def test_nearest_in_blocks_and_among_few() -> None:
    x = unit(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)))
    present = (torch.arange(40) % 3 > 0).nonzero()[:, 0]
    whole, blocks = nearest(x, present, 5), nearest(x, present, 5, cells=60)
    assert torch.equal(whole.columns, blocks.columns)
    assert (whole.columns.view(-1, 5)[:, 0] == present).all()  # itself first
    assert torch.isin(whole.columns, present).all() and len(whole.columns) == 5 * len(present)
    same = nearest(unit(torch.ones(40, 6)), present, 5)  # more equal ones than neighbours
    assert (same.columns.view(-1, 5)[:, 0] == present).all()
    few = nearest(x, torch.arange(2), 5)
    assert sorted(few.columns.tolist()) == [0, 0, 1, 1]
    assert len(nearest(x, torch.arange(0), 5).columns) == 0


@pytest.mark.parametrize("system", ["early", "mmlgcn", "vbpr", "mmgcn", "lattice"])
def test_a_modality_that_nobody_has_changes_nothing_to_nan(
    system: str, train: Interactions
) -> None:
    nobody = Modality("text", torch.zeros(I, 5), torch.zeros(I, dtype=torch.bool))
    for missing in ("skip", "zero", "mean"):
        config = config_of(system, missing=missing)
        model = system_class(system)(catalogue_of(train, nobody), config)
        for table in tables(model):
            assert table.isfinite().all()
