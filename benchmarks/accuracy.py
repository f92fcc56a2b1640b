"""The tables of ACCURACY.md: one `dvc exp run` with the settings that they were made with.

    python -m benchmarks.accuracy published|strict|refit dbbook|ml1m|lastfm [KEY=VALUE ...]

`published` is the paper's own protocol. `data/raw/<catalogue>` has to be there: ACCURACY.md says
what it holds. What follows is said after the settings and so wins: `study.seeds=[19]`,
`train.epochs=50`.
"""

import shlex
import subprocess
import sys

SHARED = {
    "propagation": "published",
    "layers": "2",
    "train.regularization": "1e-4",
    "study.ablations": "[]",
}
PUBLISHED = SHARED | {
    "protocol": "published",
    "train.dimension": "512",
    "train.learning_rate": "0.001",
    "train.epochs": "500",
    "study.systems": "[none,frozen,alpha,unfrozen,normalized]",
    "study.layers": "[0,1,2,3]",
    "study.seeds": "[19]",
    "study.controls": "[]",
}
COMPARED = SHARED | {
    "fusion": "blend",
    "systems.blend.parts": "[ease,ials,itemknn,contentknn,frozen,contrastive]",
    "systems.lattice.rebuild": "epoch",
    "study.systems": "[popularity,itemknn,contentknn,ials,ease,none,frozen,normalized,contrastive,"
    "vbpr,lattice,blend]",
    "study.layers": "[2]",
    "study.controls": "[placebo]",
}
SETTINGS = {
    "dbbook": {
        "train.batch_size": "2048", "train.dimension": "512", "train.learning_rate": "0.002",
        "train.epochs": "300", "train.patience": "20",
        "systems.blend.parts": "[ease,ials,itemknn,contentknn,frozen,contrastive,lattice]",
    },
    "ml1m": {
        "train.batch_size": "8192", "train.dimension": "128", "train.learning_rate": "0.005",
        "train.epochs": "150", "train.patience": "15", "systems.contrastive.learning_rate": "0.01",
    },
    "lastfm": {
        "train.batch_size": "2048", "train.dimension": "128", "train.learning_rate": "0.005",
        "train.epochs": "150", "train.patience": "15", "prepare.k_core": "5",
    },
}  # fmt: skip
"""By validation NDCG@10 of `frozen`, seed 19."""


def command(protocol: str, catalogue: str, changes: list[str]) -> list[str]:
    """What DVC is told."""
    settings = SETTINGS[catalogue]
    if protocol == "published":
        settings = PUBLISHED | {"train.batch_size": settings["train.batch_size"]}
    else:
        settings = COMPARED | settings
        settings |= {"protocol": "validated" if protocol == "strict" else protocol}
    settings |= {"dataset": f"data/raw/{catalogue}"}
    given = [*(f"{key}={value}" for key, value in settings.items()), *changes]
    return ["dvc", "exp", "run", *(part for change in given for part in ("-S", change))]


def main() -> None:
    protocols = ("published", "strict", "refit")
    if len(sys.argv) < 3 or sys.argv[1] not in protocols or sys.argv[2] not in SETTINGS:
        sys.exit(__doc__)
    call = command(sys.argv[1], sys.argv[2], sys.argv[3:])
    print(shlex.join(call), flush=True)
    sys.exit(subprocess.run(call, check=False).returncode)


if __name__ == "__main__":
    main()
