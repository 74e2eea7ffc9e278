"""Prints what a run left behind: the pointers, the best items, the neighbours of one, the quarantine.

    python examples/demo/show.py FOLDER

Plain JSON and files on purpose: nothing of the package is needed to read what is live.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.table import Table

Document = dict[str, Any]

TOP = 5


def main(folder: Path) -> None:
    """Show the store below `folder`; exit 1 with a hint when nothing was shipped yet."""
    console = Console(highlight=False, soft_wrap=True)
    pointers = sorted((folder / "store" / "registry" / "current").rglob("manifest.json"))
    if not pointers:
        sys.exit(f"nothing is live below {folder}: `make demo` builds and ships it")
    console.print("\n[bold]What is live[/]: one pointer per target, the only files that ever change")
    for path in pointers:
        pointer = json.loads(path.read_bytes())
        ends = {_artifact(uri)["window"]["end"] for uri in pointer["current"].values()}
        console.print(f"  {path.relative_to(folder.parent)}  {len(pointer['current'])} artifacts, data to {max(ends)}")
    for path in pointers:
        console.print(best_items(json.loads(path.read_bytes())))
    console.print(_neighbours(json.loads(pointers[0].read_bytes())))
    console.print(_quarantine(folder / "store"))


def read_pointer(folder: Path, tenant: str, surface: str) -> Document:
    """Return what is live for a target of the demo below `folder`."""
    path = folder / "store" / "registry" / "current" / tenant / surface / "manifest.json"
    document: Document = json.loads(path.read_bytes())
    return document


def _artifact(uri: str) -> Document:
    """Read the blob that a file:// URI of a pointer names."""
    document: Document = json.loads(Path(unquote(urlsplit(uri).path)).read_bytes())
    return document


def best_item(pointer: Document) -> str:
    """Return the item that a pointer's popularity artifact puts first."""
    item: str = _artifact(pointer["current"]["popularity"])["items"][0]["item_id"]
    return item


def best_items(pointer: Document) -> Table:
    """Return the items that a pointer's popularity artifact puts first."""
    popularity = _artifact(pointer["current"]["popularity"])
    window = popularity["window"]
    table = Table("item", "events", title=f"{pointer['tenant']}/{pointer['surface']}: most seen, {_span(window)}")
    for row in popularity["items"][:TOP]:
        table.add_row(row["item_id"], str(row["count"]))
    return table


def _neighbours(pointer: Document) -> Table:
    """Show whom the most seen item shares sessions with."""
    best = best_item(pointer)
    cooc = _artifact(pointer["current"]["cooc"])
    row = next((row for row in cooc["neighbors"] if row["item_id"] == best), {"items": []})
    name = f"{pointer['tenant']}/{pointer['surface']}"
    table = Table("item", "sessions", title=f"{name}: seen together with {best}, {_span(cooc['window'])}")
    for neighbour in row["items"][:TOP]:
        table.add_row(neighbour["item_id"], str(neighbour["count"]))
    return table


def _quarantine(store: Path) -> Table:
    """Count the lines that were put aside, with one example of each reason."""
    rejects = list(_rejects(store / "quarantine"))
    examples = {reject["reason"]: reject for reject in reversed(rejects)}
    table = Table("reason", "lines", "for example", title=f"In quarantine: {len(rejects)} lines")
    for reason, count in Counter(reject["reason"] for reject in rejects).most_common():
        example = examples[reason]
        table.add_row(reason, str(count), f"{Path(example['file']).name}:{example['line']} {example['detail']}")
    return table


def _rejects(folder: Path) -> Iterator[Document]:
    for path in sorted(folder.rglob("*.jsonl")):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def _span(window: dict[str, str]) -> str:
    return f"{window['start'][:10]} to {window['end'][:10]} (exclusive)"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
