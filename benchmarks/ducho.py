"""The stage `encode` beside Ducho's own extraction loop: the same items and weights, one CPU.

    python -m benchmarks.ducho <a checkout of sisinflab/Ducho> [texts] [images]

Ducho runs as it does by default: batches of one, a DataLoader worker a core, a .npy an item. What
its loop needs besides our own environment: loguru, alive-progress, pandas. TensorFlow, which it
imports and does not use here, is replaced by an empty module; models are loaded beforehand on both
sides.
"""

import csv
import multiprocessing
import os
import sys
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

from benchmarks import material
from benchmarks.encode import project, seconds
from encoders import encoder_class
from encoders.minilm import MiniLM
from pipeline.common import params, paths
from pipeline.common.device import reuse_freed_memory
from pipeline.encoding.batches import batches_of
from pipeline.encoding.filling import Reasons, fill
from pipeline.encoding.local_engine import local_engine
from pipeline.encoding.manifest import read_manifest
from pipeline.encoding.vectors import VectorCache

ROUNDS = 3


def extraction(modality: str, dataset: object, model: object, backend: str, layer: str) -> None:
    """Ducho's loop over its `dataset` with a model that is there already."""
    runner = import_module("ducho.runner.Runner")
    name = f"{modality.title()}FeatureExtractor"
    base = getattr(import_module(f"ducho.multimodal.{modality}.{name}"), name)

    class Extractor(base):  # type: ignore[misc, valid-type]
        def set_model(self, _: object) -> None:
            self._model_name, self._model = "model", model
            self.output_layer = layer
            if modality == "visual":
                from transformers import ViTImageProcessor

                self._image_processor = ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.5] * 3)

    description = {
        "model_name": "model", "backend": [backend], "output_layers": [layer],
        "preprocessing_flag": (224, 224) if modality == "visual" else False,
    }  # fmt: skip
    runner._execute_extraction_from_models_list([description], Extractor, "-1", dataset)


def ours(modality: str, raw: Path, encoder: object, path: Path) -> None:
    """The stage's loop into a new cache."""
    entry = params.load().encode[modality]
    cls = type(encoder)
    items, _ = read_manifest(paths.manifest_path(modality))
    batches = batches_of(items, modality == "text", entry.batch_size)
    engine, reasons = local_engine(cls, lambda: encoder, raw, entry.time_limit), Reasons()
    with VectorCache(path, cls.width) as cache:
        fill(cache, batches, engine, modality, reasons)
    assert not reasons.contents and not reasons.items


def show(modality: str, count: int, us: float, them: float) -> None:
    print(
        f"{modality}: ours {count / us:.2f} items/s, Ducho {count / them:.2f} items/s, "
        f"ratio {them / us:.2f}"
    )


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    reuse_freed_memory()  # for both sides, as the stage does
    sys.path.insert(0, sys.argv[1])
    n_texts, n_images = (int(n) for n in (*sys.argv[2:], *("1000", "96")[len(sys.argv) - 2 :]))
    tensorflow = ModuleType("tensorflow")
    tensorflow.__spec__ = ModuleSpec("tensorflow", None)
    tensorflow.keras = tensorflow.config = MagicMock()  # type: ignore[attr-defined]
    tensorflow.config.experimental.list_physical_devices.return_value = []  # type: ignore[attr-defined]
    sys.modules["tensorflow"] = tensorflow
    from ducho.multimodal.textual.TextualDataset import TextualDataset
    from ducho.multimodal.visual.VisualDataset import VisualDataset
    from loguru import logger
    from sentence_transformers import SentenceTransformer

    logger.remove()
    multiprocessing.set_start_method("fork", force=True)  # Ducho's data sets cannot be pickled
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as Ducho sets it
    encoder = encoder_class("minilm")("bundled")
    theirs = SentenceTransformer(str(MiniLM.packaged.directory), device="cpu")
    with project("text", lambda raw: material.texts(n_texts)) as raw:
        with (raw / "items.csv").open(newline="") as file, Path("meta.tsv").open("w") as target:
            rows = list(csv.reader(file))
            csv.writer(target, delimiter="\t").writerows(rows)
        for turn in range(ROUNDS):
            data = TextualDataset("meta.tsv", f"out{turn}", columns=("item_id", "text"))
            data.set_type_of_extraction("items")
            them = seconds(partial(extraction, "textual", data, theirs,
                                   "sentence_transformers", "1"))  # fmt: skip
            assert len(list(Path(f"out{turn}").rglob("*.npy"))) == n_texts
            us = seconds(partial(ours, "text", raw, encoder, Path(f"{turn}.sqlite")))
            show("text", n_texts, us, them)
    encoder = encoder_class("vit")("bundled")
    with project("image", lambda raw: material.photographs(raw, n_images)) as raw:
        pictures = Path("pictures")
        pictures.mkdir()
        for file in raw.glob("*.jpg"):
            (pictures / file.name).hardlink_to(file)
        for turn in range(ROUNDS):
            data = VisualDataset("pictures", f"out{turn}")
            them = seconds(partial(extraction, "visual", data, encoder.model,
                                   "transformers", "last_hidden_state"))  # fmt: skip
            us = seconds(partial(ours, "image", raw, encoder, Path(f"{turn}.sqlite")))
            show("image", n_images, us, them)


if __name__ == "__main__":
    main()
