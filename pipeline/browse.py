"""A page to look at a trained model, served to this machine alone.

    python -m pipeline.browse [--port 8000] [--open]

Users with their histories and two systems' recommendations side by side, and why; items with their
neighbours; new items from a text or a file. The systems are the trained model and those of the
study that are kept. Nothing is written.
"""

import argparse
import errno
import json
import logging
import webbrowser

from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.files import InputError
from pipeline.common.params import load
from pipeline.common.places import place_of


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.browse", description="A page to look at a trained model."
    )
    parser.add_argument("--port", type=int, default=8000, help="default %(default)s; 0: any")
    parser.add_argument("--open", action="store_true", help="open it in a browser")
    chosen = parser.parse_args()
    params = load()
    summary = json.loads(paths.SUMMARY.read_text())

    # torch and what answers: not for the worker processes, which run this module's top again.
    from pipeline.browsing.media import Media
    from pipeline.browsing.models import Models
    from pipeline.browsing.server import serving

    models = Models(params)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    with Media(place_of(summary["dataset"]), models.workspace.item_ids) as media:
        try:
            server = serving(models, media, chosen.port)
        except (OSError, OverflowError) as error:
            taken = getattr(error, "errno", None) == errno.EADDRINUSE
            reason = "is taken" if taken else f"cannot be used ({error})"
            raise InputError(f"--port {chosen.port}: {reason}; name another") from error
        url = f"http://127.0.0.1:{server.effective_port}/"
        print(f"{url}\n{', '.join(models.labels.values())}; Ctrl-C ends it", flush=True)
        if chosen.open:
            webbrowser.open(url)
        server.run()


if __name__ == "__main__":
    run_stage(main)
