"""The user-item graph: one symmetric CSR matrix, normalised once."""

import warnings

import torch
from torch import Tensor


def normalized_adjacency(users: Tensor, items: Tensor, n_users: int, n_items: int) -> Tensor:
    r"""Â = D^-1/2 A D^-1/2 of the bipartite graph, without self-loops (LightGCN, eq. 4-5).

    Node u is user u, node n_users + i is item i. Rows of degree 0 stay 0.

    Args:
        users, items: (E,) int64, the training edges, each once.
        n_users, n_items: the number of nodes on each side.

    Returns:
        (n_users + n_items, n_users + n_items) float32 sparse CSR, symmetric.
    """
    n = n_users + n_items
    rows = torch.cat([users, items + n_users])
    columns = torch.cat([items + n_users, users])
    order = torch.argsort(rows * n + columns)
    rows, columns = rows[order], columns[order]
    degree = torch.bincount(rows, minlength=n)
    offsets = torch.zeros(n + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(degree, 0, out=offsets[1:])
    scale = degree.double().clamp(min=1).rsqrt()
    values = (scale[rows] * scale[columns]).float()
    with warnings.catch_warnings():  # torch calls its CSR support a beta at every first use
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, (n, n), check_invariants=True)
