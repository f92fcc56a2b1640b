"""What is kept by content under `.cache/`: vectors, fitted models, the states of fits under way.

python -m pipeline.cache          # what is there
python -m pipeline.cache prune    # drop what the present workspace does not use
"""

import sys

from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.experiments.kept import prune, show


def main() -> None:
    match sys.argv[1:]:
        case []:
            show()
        case ["prune"]:
            prune()
        case _:
            raise InputError("usage: python -m pipeline.cache [prune]")


if __name__ == "__main__":
    run_stage(main)
