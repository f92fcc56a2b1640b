"""Whether one version of the trained model is better than another, user by user.

    python -m pipeline.compare <A> <B> [--metric ndcg@10] [--split test]

A and B are experiments, commits, branches or tags, or `workspace`; both are of one catalogue and
split. What `dvc metrics diff` shows comes first, then tests over users, slices and a verdict.
"""

import argparse

from model.metrics import SELECTION, Measure
from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.common.paths import SPLITS
from pipeline.comparing.sides import Side
from pipeline.comparing.text import described


def measure_of(text: str) -> Measure:
    """`name@k` as a measure. InputError if it is none."""
    metric, _, k = text.partition("@")
    if not k.isdecimal() or int(k) < 1:
        raise InputError(f"--metric {text}: a metric is a name and a cut-off, such as {SELECTION}")
    return Measure(metric, int(k))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.compare",
        description="Whether one version of the trained model is better than another.",
    )
    revision = "an experiment, a commit, branch or tag, or `workspace`"
    parser.add_argument("first", metavar="A", help=revision)
    parser.add_argument("second", metavar="B", help=revision)
    parser.add_argument("--metric", default=str(SELECTION), help="default %(default)s")
    parser.add_argument(
        "--split", choices=SPLITS[:0:-1], default="test", help="default %(default)s"
    )
    chosen = parser.parse_args()
    measure = measure_of(chosen.metric)
    first, second = Side.read(chosen.first), Side.read(chosen.second)
    for line in described(first, second, measure, chosen.split):
        print(line)


if __name__ == "__main__":
    run_stage(main)
