"""LF-MMLGCN with frozen content, fitted by the softmax of cosines over sampled items."""

from dataclasses import asdict, dataclass
from typing import Annotated

from model.config import LATE_FUSION, Config, Positive, Range, SystemOptions
from model.dataset import Catalogue
from model.fusion import LateFusion


@dataclass(frozen=True)
class Options(SystemOptions):
    """The loss's; the graph is that of eq. 4-7 whatever else reads of it."""

    reads = LATE_FUSION - {
        "propagation",
        "train.item_exponent",
        "train.layer_weights",
        "train.learning_rate",
        "train.loss",
        "train.negatives",
        "train.temperature",
        "train.user_exponent",
    }
    undivided = ""
    content = True

    temperature: Annotated[float, Positive] = 0.2
    negatives: Annotated[int, Range(1)] = 16  # a positive
    learning_rate: Annotated[float, Positive] = 0.005


class AsLateFusion(Options):
    """What late fusion is given then."""

    reads = LATE_FUSION


class Contrastive(LateFusion):
    r"""item = (e + sum_j m_j) / (n + 1) as `frozen`, loss -ln softmax of cos(u, i) / tau.

    The positive stands among sampled negatives (Wu et al., 2024, eq. 5), and cosines rank. So the
    hardest negatives weigh most, where BPR (eq. 9) draws one, and no item is lifted by its length.
    """

    def __init__(self, catalogue: Catalogue, config: Config[Options]) -> None:
        own = config.options
        changes = {
            "propagation": "bipartite",
            "train.item_exponent": 0.5,
            "train.layer_weights": (),
            "train.learning_rate": own.learning_rate,
            "train.loss": "softmax",
            "train.negatives": own.negatives,
            "train.temperature": own.temperature,
            "train.user_exponent": 0.5,
        }
        super().__init__(catalogue, config.of_part(AsLateFusion(**asdict(own)), **changes))
