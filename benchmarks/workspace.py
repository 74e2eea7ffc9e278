"""Where a measured run reads and writes: a configuration and an empty store beside the data."""

import json
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from generate import CATALOG, DAY, SURFACE, TENANT
from result import MAX_NEIGHBORS, MIN_SUPPORT

PLENTY = 1_000_000_000
SEGMENT = "default"
DID = {
    "lines checked": "all",
    "bad lines kept": "with reasons",
    "day stored": "Parquet, sorted",
    "kinds": "5 of 5",
    "JSON": "documents",
    "hashed": "SHA-256",
    "gated": "day and kinds, as stored",
    "shipped": "synced",
}

CONFIG = f"""
[storage]
root = "store"
[raw]
exposures = "../{{day}}.jsonl"
catalog = "../{CATALOG}"
[partitions]
start = {DAY}
[artifacts.popularity]
window_days = 1
max_items = {PLENTY}
max_bytes = {PLENTY}
[artifacts.cooc]
window_days = 1
min_support = {MIN_SUPPORT}
max_neighbors = {MAX_NEIGHBORS}
max_items = {PLENTY}
max_bytes = {PLENTY}
[artifacts.implicit]
window_days = 1
max_items_per_user = {PLENTY}
max_events_per_user = {PLENTY}
max_bytes = {PLENTY}
[artifacts.session_seq]
window_days = 1
max_items_per_user = {PLENTY}
max_events_per_user = {PLENTY}
max_bytes = {PLENTY}
[artifacts.content_sim]
max_items = {PLENTY}
max_bytes = {PLENTY}
# Without cuts blobs are larger than a reader takes, and peers try nothing of the kind.
[gates.rehearsal]
mode = "off"
[[targets]]
tenant = "{TENANT}"
surface = "{SURFACE}"
segment = "{SEGMENT}"
"""


def open_workspace(data: Path, name: str) -> Path:
    """Make an empty folder `name` beside the data and put recsys.toml into it; cuts are the peers', limits are off."""
    folder = data / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "recsys.toml").write_text(CONFIG, encoding="utf-8")
    return folder


def read_blobs(registry: Path) -> dict[str, Path]:
    """Return the file of each artifact kind that the pointer below `registry` names."""
    pointer = json.loads((registry / "current" / TENANT / SURFACE / "manifest.json").read_bytes())
    return {kind: Path(unquote(urlsplit(uri).path)) for kind, uri in pointer["current"].items()}


def version_digests(registry: Path) -> dict[str, str]:
    """Return the version of each artifact kind, which says all about its content, under the names of the digests."""
    return {f"{kind} version": path.stem for kind, path in read_blobs(registry).items()}
