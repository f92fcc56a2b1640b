"""What a trained model recommends, to whom, and why; to the terminal, to Parquet, as a folder.

    python -m pipeline.recommend u007 u042 [-k 10] [--why]
    python -m pipeline.recommend --all -k 50 --to lists.parquet
    python -m pipeline.recommend --liked i12,i80
    python -m pipeline.recommend --similar i12 [--by text]
    python -m pipeline.recommend --export my-model

`--model` names another one than the workspace's: an experiment, commit, branch or tag, or an
exported folder. `--new` adds items that came after training, a folder in the raw layout.
"""

import argparse
import csv
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.revisions import WORKSPACE

log = logging.getLogger("recommend")


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. InputError if it does not say what is wanted."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.recommend",
        description="What a trained model recommends, to whom, and why.",
    )
    add = parser.add_argument
    add("users", nargs="*", metavar="USER", help="ids of users")
    add("--all", action="store_true", help="all users")
    add(
        "--liked",
        type=_ids,
        action="extend",
        metavar="I,J",
        help="a new user, by the items that they liked",
    )
    add("--similar", metavar="ITEM", help="items like that one")
    add("--by", default="model", help="model, collaboration, content or a modality (--similar)")
    add("-k", type=int, default=10, help="how many; default %(default)s")
    add("--why", action="store_true", help="say where scores come from")
    add("--hide", default="history", help="what users know: history (default), all, nothing")
    add(
        "--allow",
        type=_ids,
        action="extend",
        metavar="I,J",
        help="the only items that may be shown",
    )
    add(
        "--block", type=_ids, action="extend", default=[], metavar="I,J",
        help="items that may not be shown",
    )  # fmt: skip
    add("--new", type=_local, metavar="FOLDER", help="items that came after training")
    add("--model", default=WORKSPACE, help="a revision or exported folder; default %(default)s")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add("--to", type=_local, metavar="FILE", help="write Parquet: user_id, rank, item_id, score")
    add("--export", metavar="FOLDER", help="write the model as a folder of its own")
    chosen = parser.parse_args(arguments)
    wanted = {
        "users": bool(chosen.users),
        "--all": chosen.all,
        "--liked": chosen.liked is not None,
        "--similar": chosen.similar is not None,
        "--export": chosen.export is not None,
    }
    if sum(wanted.values()) != 1:
        raise InputError(f"one of {', '.join(wanted)} is needed; see --help")
    if chosen.to is not None and not (chosen.users or chosen.all):
        raise InputError("--to takes the lists of users: name some, or --all")
    lists = chosen.similar is None and chosen.export is None
    unread = {
        "--why": chosen.why and (chosen.to is not None or not lists),
        "--by": chosen.by != parser.get_default("by") and chosen.similar is None,
        "--hide": chosen.hide != parser.get_default("hide") and not lists,
        "--allow": chosen.allow is not None and not lists,
        "--block": bool(chosen.block) and not lists,
    }
    if ignored := [name for name, given in unread.items() if given]:
        raise InputError(f"{', '.join(ignored)} would change nothing here; see --help")
    return chosen


def _ids(text: str) -> list[str]:
    """Separated by commas; one that has a comma stands between double quotes, as in CSV."""
    return [part for part in next(csv.reader([text]), []) if part]


def _local(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text}: a path on this machine is needed")
    return Path(text)


def main() -> None:
    chosen = parsed(sys.argv[1:])
    reuse_freed_memory()
    from pipeline.recommending.new_items import read_new_items
    from pipeline.recommending.recommender import Recommender
    from pipeline.recommending.stored import export, write_lists
    from pipeline.recommending.text import listed, of_user

    shop = Recommender.open(chosen.model, chosen.device)
    if chosen.new is not None:
        shop = shop.with_items(read_new_items(chosen.new))
    options = {"hide": chosen.hide, "allow": chosen.allow, "block": chosen.block}
    if chosen.export is not None:
        export(shop, chosen.export)
        log.info("%s: %s", chosen.export, shop.description["system"])
    elif chosen.to is not None:
        count = write_lists(
            shop, chosen.to, None if chosen.all else chosen.users, chosen.k, **options
        )
        log.info("%s: the lists of %s users", chosen.to, f"{count:,}")
    elif chosen.similar is not None:
        picks = shop.similar(chosen.similar, chosen.k, chosen.by)
        print(f"like {shop.title(chosen.similar)}, by {chosen.by}")
        for line in listed(picks):
            print(line)
    elif chosen.liked is not None:
        picks = shop.recommend(liked=chosen.liked, k=chosen.k, **options)
        why = (
            [shop.why(None, p.item_id, liked=chosen.liked, most=3) for p in picks]
            if chosen.why
            else []
        )
        for line in of_user(shop, "somebody new", chosen.liked, picks, why):
            print(line)
    else:
        users = None if chosen.all else chosen.users
        for user, picks in shop.recommend_each(users, chosen.k, **options):
            why = [shop.why(user, p.item_id, most=3) for p in picks] if chosen.why else []
            for line in of_user(shop, user, shop.history(user), picks, why):
                print(line)


if __name__ == "__main__":
    run_stage(main)
