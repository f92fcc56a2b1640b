"""Losses over sampled triples."""

from torch import Tensor
from torch.nn import functional as F


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """-mean ln sigma(s_ui - s_uj) (eq. 9) of scores (B,) and (B,); a scalar."""
    return F.softplus(negative - positive).mean()


def l2_of_touched(embedding: Tensor, nodes: Tensor, batch_size: int) -> Tensor:
    """||E^(0)[unique nodes]||^2 / B, the regulariser of eq. 9 as PyG's LightGCN takes it.

    Args:
        embedding: (N, d), E^(0).
        nodes: (M,) int64, users, positives and negatives of the batch; repeats count once.
        batch_size: B.
    """
    touched = embedding.new_zeros(len(embedding), 1)
    touched[nodes] = 1
    return (embedding * touched).square().sum() / batch_size
