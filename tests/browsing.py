"""A small catalogue with media and hostile names, with fitted systems, as `browse` finds it."""

import io
import json
import shutil
import wave
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from small import ITEMS, USERS, splits, write_catalogue
from tiny_encoders import TINY, Tiny

from encoders.weights import RANDOM
from pipeline import train
from pipeline.catalogue.embeddings import write_embeddings
from pipeline.catalogue.manifests import media_sha256
from pipeline.catalogue.workspace import Workspace
from pipeline.common import paths
from pipeline.common.params import load
from pipeline.experiments.cells import cell_of
from pipeline.experiments.experiment import Experiment, grid_of

ROOT = Path(__file__).parents[1]
DATASET = Path("data/raw/shop")
SCRIPT = "<script>document.title = 'broken'</script>\"'>&amp;"
STUDIED = ("none", "frozen", "ease")
ITEM_IDS = [f"i{n:02}" for n in range(ITEMS)]
ITEM_IDS[:3] = "../../etc/passwd", "/a b?c=d&e#f%2e", SCRIPT  # ids ascend
USER_IDS = [f"u{n:02}" for n in range(USERS)]
USER_IDS[2] = SCRIPT
TEXTS = [f"book {n} of {'red' if n % 2 else 'blue'} things number{n}" for n in range(ITEMS)]
TITLES: list[str | None] = [f"Title {n}" for n in range(ITEMS)]
TITLES[2], TITLES[6] = SCRIPT, None
IMAGES = {n: f"images/{n}.png" for n in range(8, ITEMS)}
IMAGES |= {3: "../outside.png", 4: "images/drawing.svg", 7: "images/broken.png"}
SOUNDS = {n: f"sounds/{n}.wav" for n in range(8, 12)} | {5: "sounds/page.html"}


def picture(n: int) -> bytes:
    """A PNG of four colours."""
    colours = np.random.default_rng(n).integers(0, 255, (2, 2, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).resize((40, 40), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def sound(n: int) -> bytes:
    """A second of WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes((3000 * np.sin(np.arange(8000) * n / 10)).astype("<i2").tobytes())
    return file.getvalue()


def write_files() -> None:
    """The dataset's folder, and a file that lies outside it."""
    for name in ("images", "sounds"):
        (DATASET / name).mkdir(parents=True)
    for n, name in IMAGES.items():
        (DATASET / name).write_bytes(picture(n))
    for n, name in SOUNDS.items():
        (DATASET / name).write_bytes(sound(n))
    (DATASET / "images/drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (DATASET / "images/broken.png").write_text("no picture")
    (DATASET / "sounds/page.html").write_text(SCRIPT)


def write_manifest(modality: str, sources: dict[int, str]) -> None:
    order = sorted(sources, key=lambda n: ITEM_IDS[n])
    listed = [sources[n] for n in order]
    # As if all had been there, to see that what leads out is refused once more.
    digests = [media_sha256(DATASET, s) or "0" * 64 for s in listed]
    columns = [pa.array(c, pa.string()) for c in ([ITEM_IDS[n] for n in order], listed, digests)]
    paths.MANIFESTS.mkdir(parents=True, exist_ok=True)
    names = ["item_id", "source", "sha256"]
    pq.write_table(pa.table(columns, names=names), paths.manifest_path(modality))


def write_vectors(name: str, ids: list[str], contents: list[str | Path]) -> None:
    encoder: Tiny = TINY[name]("bundled")
    vectors = encoder.encode([encoder.prepare(content) for content in contents])
    metadata = {"model": name, "count": str(len(ids)), "encoder": name, "weights": RANDOM,
                "weights_sha256": encoder.loaded.sha256, "precision": "fp32"}  # fmt: skip
    target = paths.embeddings_path(encoder.modality)
    write_embeddings(target, ids, lambda part: vectors[part], vectors.shape[1], metadata)


def write_shop() -> None:
    """All of it into the current folder."""
    nothing = np.zeros((0, 4), np.float32)
    write_catalogue(Path(), splits(), dict.fromkeys(("text", "image", "audio", "video"), nothing))
    columns = {"item_id": ITEM_IDS, "title": pa.array(TITLES, pa.string())}
    pq.write_table(pa.table(columns), paths.ITEMS)
    pq.write_table(pa.table({"user_id": USER_IDS}), paths.USERS)
    summary = json.loads(paths.SUMMARY.read_text()) | {"dataset": str(DATASET)}
    paths.SUMMARY.write_text(json.dumps(summary))
    write_files()
    write_manifest("text", dict(enumerate(TEXTS)))
    write_manifest("image", IMAGES)
    write_manifest("audio", SOUNDS)
    write_vectors("minilm", ITEM_IDS, list(TEXTS))
    seen = sorted(n for n in IMAGES if n >= 8)
    write_vectors("vit", [ITEM_IDS[n] for n in seen], [DATASET / IMAGES[n] for n in seen])
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    text = Path("params.yaml").read_text()
    for old, new in {"dimension: 256": "dimension: 8", "epochs: 200": "epochs: 30",
                     "device: auto": "device: cpu"}.items():  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    Path("params.yaml").write_text(text)
    paths.REPORTS.mkdir()
    paths.MODELS.mkdir()
    train.main()
    params, workspace = load(), Workspace()
    for system in STUDIED:
        cell_of(Experiment.of(params, system, *grid_of(params, system)[-1]), workspace)
