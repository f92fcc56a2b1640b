"""What may be fitted: one system, with its parameters, on the workspace's data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from model.config import REFIT, Config, keys_read
from model.controls import aggregate_in, controls_of
from model.systems import module_of
from pipeline.catalogue.workspace import Workspace
from pipeline.common.device import card, resolve_device
from pipeline.common.fingerprint import code_sha256, digest
from pipeline.common.params import Params

if TYPE_CHECKING:
    from model.dataset import Dataset

FORMAT = 3  # of a cell's file; to be raised when what stands in it changes

NO_REFIT = "protocol: refit is validated here: without a validation split there is nothing to add"

# Declarations: the values that a cell was made with are in its fingerprint one by one.
DECLARATIONS = ("model.config", "model.systems")


@dataclass(frozen=True)
class Experiment:
    """What a cell is made of, besides the data.

    Attributes:
        system: its name.
        config: what the system reads, and nothing else.
        layers, seed: None where the system does not read them.
        device: cpu or cuda.
        control: what is changed about the system, by `model.controls`.
        refit: whether it is fitted once more on training and validation interactions, as long as
            validation chose in its `strict` part.
        world_size: how many processes fit it together: they add up in another order than one does.
        asked: the arguments of `of`, which make an equal one from equal parameters.
    """

    system: str
    config: Config[Any]
    layers: int | None
    seed: int | None
    device: str
    control: str | None = None
    refit: bool = False
    world_size: int = 1
    asked: tuple[str, int | None, int | None, str | None] | None = field(
        default=None, compare=False, repr=False
    )

    @classmethod
    def of(
        cls,
        params: Params,
        system: str,
        layers: int | None,
        seed: int | None,
        control: str | None = None,
    ) -> Experiment:
        """By params.yaml, but for system, depth, seed and control.

        A system without content may be another one: that is what is fitted then.
        """
        options = params.systems[system]
        if control == "no_content" and options.without_content is not None:
            return cls.of(params, options.without_content, layers, seed)
        override = aggregate_in(control)
        values = params.shared() | {"layers": layers, "seed": seed} | override
        read = keys_read(options, values)
        return cls(
            system,
            Config.of(options, values),
            layers if "layers" in read else None,
            seed if "seed" in read else None,
            resolve_device(params.device),
            None if override else control,  # the configuration says it all
            params.protocol == REFIT,
            asked=(system, layers, seed, control),
        )

    @classmethod
    def trained(cls, params: Params) -> Experiment:
        """What the stage `train` fits: by the top-level parameters alone."""
        whole = cls.of(params, params.fusion, params.layers, params.seed)
        return replace(whole, world_size=params.world_size)

    @property
    def label(self) -> str:
        """For people."""
        depth = "" if self.layers is None else f" K={self.layers}"
        control = "" if self.control is None else f" {self.control}"
        return self.system + control + depth + ("" if self.seed is None else f" seed {self.seed}")

    @property
    def strict(self) -> Experiment:
        """The one that is fitted on training interactions alone; itself, but for a refit."""
        return replace(self, refit=False)

    def refits(self, workspace: Workspace) -> bool:
        """Whether it is fitted once more: without a validation split, there is no reason to."""
        return self.refit and workspace.has_validation

    def record(self, workspace: Workspace) -> dict[str, Any]:
        """Key → value of all that the fitted model depends on, as params.yaml has it."""
        refitted = {"protocol": REFIT} if self.refits(workspace) else {}
        several = {"world_size": self.world_size} if self.world_size > 1 else {}
        return self.config.record() | refitted | several

    def fingerprint(self, workspace: Workspace) -> str:
        """Hexadecimal sha256 of everything that the cell depends on."""
        hashes = workspace.hashes
        module = module_of(self.system)
        content = self.config.options.content
        return digest(
            {
                "file": FORMAT,
                "system": self.system,
                "parameters": self.config.record(),
                "seed": self.seed,
                "control": self.control,
                "refit": self.refits(workspace),
                "data": {n: h for n, h in hashes.items() if n != "content" or content},
                "code": code_sha256(module, "model.experiment", apart_from=DECLARATIONS),
                "libraries": {"torch": version("torch")},
                "device": [self.device, card(self.device)],
            }
            | ({"world_size": self.world_size} if self.world_size > 1 else {})
        )

    def dataset(self, workspace: Workspace) -> Dataset:
        """What the system is given of the workspace; of a refit, the last time."""
        whole = workspace.dataset
        if not self.config.options.content:
            whole = whole.without_content()
        return whole.joined() if self.refits(workspace) else whole


def grid_of(params: Params, system: str) -> list[tuple[int | None, int | None]]:
    """(layers, seed) of the cells that a study of `system` has; None for what it does not read."""
    read = params.systems[system].reads
    depths: list[int | None] = [*params.study.layers] if "layers" in read else [None]
    seeds: list[int | None] = [*params.study.seeds] if "seed" in read else [None]
    return [(layers, seed) for layers in depths for seed in seeds]


def controls_asked(params: Params, system: str, workspace: Workspace) -> list[str]:
    """The controls that a study of `system` has, at the depth that validation selects."""
    study, options = params.study, params.systems[system]
    return controls_of(options, study.controls, study.ablations, workspace.modalities)
