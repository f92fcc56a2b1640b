"""Adam by torch's fused kernel."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Adam:
    """Adam (Kingma and Ba, 2015, algorithm 1): `torch.optim.Adam(fused=True)` to the bit.

    Once its learning rate is kept on a card (`keep`), that is a float32.

    torch's own class imports its compiler on first use: 4 s in every process, which is longer
    than a small model trains.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.betas, self.epsilon = betas, epsilon
        self._kept: Tensor | None = None
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """What the next step multiplies by."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate: float = value
        if self._kept is not None:
            self._kept.fill_(value)

    def keep(self) -> None:
        """Keep the learning rate on the parameters' card: a recorded step reads it there."""
        self._kept = torch.full((), self.learning_rate, device=self.parameters[0].device)

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        chosen = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        steps = [self.steps[i] for i in chosen]
        for step in steps:
            step += 1
        torch._fused_adam_(
            [self.parameters[i] for i in chosen],
            [self.parameters[i].grad for i in chosen],  # type: ignore[misc]
            [self.means[i] for i in chosen],
            [self.squares[i] for i in chosen],
            [],
            steps,
            lr=self.learning_rate if self._kept is None else self._kept,  # type: ignore[arg-type]
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=self.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step, by name; the tensors themselves."""
        groups = {"mean": self.means, "square": self.squares, "step": self.steps}
        return {f"{name}.{i}": t for name, group in groups.items() for i, t in enumerate(group)}
