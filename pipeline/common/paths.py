"""Where every file lies, relative to the repository's root."""

import os
from pathlib import Path

RAW = Path("data/raw")
SAMPLE = RAW / "sample"

PREPARED = Path("data/prepared")
SPLITS = ("train", "validation", "test")
ITEMS = PREPARED / "items.parquet"
USERS = PREPARED / "users.parquet"
SUMMARY = PREPARED / "summary.json"
MANIFESTS = PREPARED / "manifests"
FEATURES = PREPARED / "features"  # modalities that have no encoder
FEATURES_LIST = FEATURES / "modalities.json"

WEIGHTS = Path("data/weights")
EMBEDDINGS = Path("data/embeddings")
VECTORS = Path(".cache/vectors")
CELLS = Path(".cache/cells")
FITS = Path(".cache/fits")
MIRRORS = Path(".cache/mirrors")  # tables and features of catalogues that lie elsewhere
DOWNLOADS = Path(".cache/downloads")  # what `pipeline.download` fetched
MODELS = Path("data/models")
MODEL = MODELS / "recommender.safetensors"
RESULTS = MODELS / "results.csv"
TRAINED_USERS = MODELS / "users.parquet"
TRAINED_LISTS = MODELS / "lists.parquet"
STUDY = Path("data/study")
NEWCOMERS = Path("data/newcomers")
NEW_ITEMS = NEWCOMERS / "items.parquet"
NEW_USERS = NEWCOMERS / "users.parquet"
TIMES = Path("data/times")  # in no lock: other machines have others

REPORTS = Path("reports")
METRICS = REPORTS / "metrics.json"
HISTORY = REPORTS / "history.csv"
TABLES = REPORTS / "tables"
FIGURES = REPORTS / "figures"


def split_path(name: str) -> Path:
    """Interactions of one of `SPLITS`."""
    return PREPARED / f"{name}.parquet"


def manifest_path(modality: str) -> Path:
    """What the encoder of a modality reads."""
    return MANIFESTS / f"{modality}.parquet"


def embeddings_path(modality: str) -> Path:
    """What the encoder of a modality writes."""
    return EMBEDDINGS / f"{modality}.parquet"


def times_path(system: str) -> Path:
    """What fitting a study's models took."""
    return TIMES / f"{system}.csv"


def failures_path(modality: str) -> Path:
    """The items that the encoder of a modality could not encode, and why."""
    return EMBEDDINGS / f"{modality}.failures.csv"


def of_repository(path: Path) -> Path:
    """`path` in the repository itself; experiments in temporary folders share what lies there."""
    return Path(os.environ.get("DVC_ROOT", ".")) / path
