"""Stage `encode@<modality>`: raw media of the catalogue → one vector an item.

    python -m pipeline.encode text|image|audio|video

Reads `data/prepared/manifests/<modality>.parquet` and the dataset; writes
`data/embeddings/<modality>.parquet` and `data/embeddings/<modality>.failures.csv`. An item that
cannot be encoded becomes a row of the second, and costs no other item.

Vectors come from `pipeline.encoding.vectors`, which is filled first, batch by batch: only new
content is encoded, and a killed run goes on where it was. Files are decoded by
`pipeline.encoding.workers`, ahead of the network. Ready-made features pass through as they are.
"""

from __future__ import annotations

import argparse

from encoders import encoder_class, modalities
from encoders.weights import WeightsError
from pipeline.catalogue.embeddings import Target
from pipeline.common import paths
from pipeline.common.command import run_stage
from pipeline.common.device import reuse_freed_memory
from pipeline.common.files import InputError
from pipeline.common.params import Params, load
from pipeline.common.places import mirrored, place_of
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.raw_media import encode_items, encode_nothing
from pipeline.encoding.ready_made import take_features


def encode_modality(modality: str, params: Params) -> None:
    """Run the stage for one modality. InputError if weights or device cannot be used."""
    items, metadata = read_manifest(paths.manifest_path(modality))
    cls = encoder_class(params.encode[modality].encoder)
    target = Target.encoded(modality)
    if "features" in metadata:
        most = params.encode[modality].max_failures
        take_features(modality, items, metadata, mirrored(place_of(params.dataset)), target, most)
    elif items:
        try:
            encode_items(items, cls, params, target)
        except WeightsError as error:
            raise InputError(f"params.yaml: weights: {error}") from error
    else:
        encode_nothing(cls, target)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline.encode")
    parser.add_argument("modality", choices=modalities())
    reuse_freed_memory()
    encode_modality(parser.parse_args().modality, load())


if __name__ == "__main__":
    run_stage(main)
