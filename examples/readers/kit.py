"""Conformance kit for readers in any language: small stores, good and bad, and what a reader must answer of each.

`python examples/readers/kit.py FOLDER` makes them, with `cases.json` beside: each case names its store's root, a
target, whether it is `served` or `refused`, and questions with the rows that answer them (null: no such row). `seen`,
if it is not null, is the root of a good store of the same target that the reader has served before.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_assets.identity import Target
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import pointer_key
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.open import open_store
from recsys_assets.upkeep.repair import relocate

HOME, STRANGE = Target("shop", "home"), Target("tück & co", "startseite")
ROWS: dict[str, Any] = {
    "popularity": {"i1": 7, "i2": 7, "<b>&": 3},
    "cooc": {"i1": {"i2": 5, "i3": 1}, "ünï": {"i1": 2}},
    "implicit": {"u1": {"i1": 1.5, "i2": 0.25}, "ann": {"i3": 2}},
    "session_seq": {"u1": {"i2": 1}, "idle": {}},
    "content_sim": {"i1": ["red", "aisle 3"]},
}
ANSWERS = [
    ["cooc", "i1", {"item_id": "i1", "items": [{"item_id": "i2", "count": 5}, {"item_id": "i3", "count": 1}]}],
    ["cooc", "ünï", {"item_id": "ünï", "items": [{"item_id": "i1", "count": 2}]}],
    ["cooc", "nothing", None],
    ["implicit", "ann", {"user_id": "ann", "items": [{"item_id": "i3", "score": 2}]}],
    ["session_seq", "idle", {"user_id": "idle", "items": []}],
    ["content_sim", "i1", {"item_id": "i1", "tags": ["red", "aisle 3"]}],
    ["popularity", "<b>&", {"item_id": "<b>&", "count": 3}],
]


def make_kit(folder: Path) -> list[dict[str, Any]]:
    """Make every store below `folder`, write `cases.json` there, and return the cases."""
    cases = [*_good(folder), *_bad(folder)]
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return cases


def _good(folder: Path) -> Iterator[dict[str, Any]]:
    yield _case(folder, "plain")
    yield _case(folder, "names with other letters", target=STRANGE)
    yield _case(folder, "shards without a single object", shards={"cooc": 4, "implicit": 3})
    yield _case(folder, "a time without a fraction", _in_pointer(updated_at="2026-01-02T03:04:05Z"))
    yield _case(folder, "a kind that nobody knows", _with_unknown_kind, strict=False)
    yield from _elsewhere(folder)


def _elsewhere(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield stores that builder and reader see by different names."""
    behind, root = (folder / f"behind-a-link{ending}" for ending in ("", ".disk"))
    root.mkdir(parents=True)
    behind.symlink_to(root)
    yield _case(folder, "behind a link")

    mount = folder / "at-another-mount"
    writer = open_store(str(folder / "at-another-mount.disk"), public_root=str(mount))
    publish_fixture(writer, HOME.tenant, HOME.surface, ROWS)
    (folder / "at-another-mount.disk").rename(mount)
    yield _case(folder, "at another mount")

    first, moved = folder / "moved-and-relocated.before", folder / "moved-and-relocated"
    publish_fixture(FilesystemStore(first), HOME.tenant, HOME.surface, ROWS)
    first.rename(moved)
    by = Actor("ann", "the disk was replaced")
    relocate(FilesystemStore(moved), [HOME], by=by, now=lambda: datetime.now(UTC), dry_run=False)
    yield _case(folder, "moved and relocated")


def _bad(folder: Path) -> Iterator[dict[str, Any]]:
    edits: dict[str, Callable[[Path, Target], object]] = {
        "another format": _in_pointer(v=2),
        "a sixth key": _in_pointer(signature="x"),
        "another target": _in_pointer(surface="cart"),
        "an instant that is none": _in_pointer(updated_at="yesterday"),
        "no JSON": lambda root, target: (root / pointer_key(target)).write_bytes(b'{"v":1,'),
        "over a megabyte": _in_pointer(tenant="x" * 2_000_000),
        "an address outside the root": _address(lambda uri: uri.replace("file:///", "file:///elsewhere/")),
        "an address that climbs": _address(lambda uri: uri.replace("/shop/home/", "/shop/../shop/home/")),
        "an address of another target": _address(lambda uri: uri.replace("/home/", "/cart/")),
        "an address of another kind": _address(lambda uri: uri.replace("/cooc/", "/implicit/")),
        "an artifact is missing": _blob("cooc", lambda path: path.unlink()),
        "a byte is flipped": _blob("cooc", lambda path: _write(path, path.read_bytes().replace(b"i3", b"i4"))),
        "an artifact is cut": _blob("popularity", lambda path: _write(path, path.read_bytes()[:-9])),
        "an artifact of another kind": _blob("cooc", _other_kind),
        "artifacts that no release names together": _mixed,
    }
    for name, edit in edits.items():
        yield _case(folder, name, edit, served=False)
    cooc = {"cooc": 4}
    yield from _after_another(folder)
    yield _case(folder, "the index is changed", _index, shards=cooc, served=False)
    yield _case(folder, "a shard is changed", _shards, shards=cooc, served=False)


def _after_another(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield stores that a reader meets when it has served another pointer of the same target before."""
    first, second = "what was live first", "what was live second"

    def again(root: Path, target: Target) -> None:
        rows = {**ROWS, "popularity": {"i1": 8, "i2": 7, "<b>&": 3}}
        publish_fixture(FilesystemStore(root), target.tenant, target.surface, rows)

    def same_instant(root: Path, target: Target) -> None:
        again(root, target)
        before = json.loads((folder / first.replace(" ", "-") / pointer_key(target)).read_bytes())
        _in_pointer(updated_at=before["updated_at"])(root, target)

    yield _case(folder, first)
    yield _case(folder, second, again, seen=first)
    yield _case(folder, "the pointer that was served before", _copy_of(folder / first.replace(" ", "-")), seen=first)
    old = "a pointer that somebody put back"
    yield _case(folder, old, _copy_of(folder / first.replace(" ", "-")), seen=second, served=False)
    yield _case(folder, "another pointer of the same instant", same_instant, seen=first, served=False)


def _copy_of(store: Path) -> Callable[[Path, Target], None]:
    """Return an edit that gives a store the pointer of another one, with its own addresses."""

    def edit(root: Path, target: Target) -> None:
        text = (store / pointer_key(target)).read_text(encoding="utf-8")
        _write(root / pointer_key(target), text.replace(f"file://{store.absolute()}/", f"file://{root}/").encode())

    return edit


def _case(
    folder: Path,
    name: str,
    edit: Callable[[Path, Target], object] | None = None,
    *,
    target: Target = HOME,
    shards: dict[str, int] | None = None,
    served: bool = True,
    strict: bool = True,
    seen: str | None = None,
) -> dict[str, Any]:
    """Make one store; `strict` says whether a reader may demand that a release record names the artifacts."""
    root = (folder / name.replace(" ", "-")).absolute()
    if not (root / pointer_key(target)).exists():
        publish_fixture(FilesystemStore(root), target.tenant, target.surface, ROWS, shards=shards)
    if edit is not None:
        edit(root, target)
    return {
        "name": name,
        "root": str(root),
        "tenant": target.tenant,
        "surface": target.surface,
        "strict": strict,
        "seen": str((folder / seen.replace(" ", "-")).absolute()) if seen else None,
        "expected": "served" if served else "refused",
        "ask": ANSWERS,
    }


def _in_pointer(**changes: Any) -> Callable[[Path, Target], None]:
    def edit(root: Path, target: Target) -> None:
        path = root / pointer_key(target)
        _write(path, json.dumps(json.loads(path.read_bytes()) | changes, ensure_ascii=False).encode())

    return edit


def _address(change: Callable[[str], str]) -> Callable[[Path, Target], None]:
    def edit(root: Path, target: Target) -> None:
        current = json.loads((root / pointer_key(target)).read_bytes())["current"]
        _in_pointer(current={**current, "cooc": change(current["cooc"])})(root, target)

    return edit


def _with_unknown_kind(root: Path, target: Target) -> None:
    """Have the pointer name a file that a reader of the usual kinds leaves alone."""
    current = json.loads((root / pointer_key(target)).read_bytes())["current"]
    folder = f"artifacts/{target.tenant}/{target.surface}"
    file = root / folder / "vectors" / f"{hashlib.sha256(b'PK').hexdigest()}.npz"
    file.parent.mkdir()
    file.write_bytes(b"PK")
    _in_pointer(current={**current, "vectors": f"file://{file}"})(root, target)


def _blob(kind: str, change: Callable[[Path], object]) -> Callable[[Path, Target], None]:
    def edit(root: Path, target: Target) -> None:
        (path,) = (root / f"artifacts/{target.tenant}/{target.surface}/{kind}").iterdir()
        path.parent.chmod(0o755)
        path.chmod(0o644)
        change(path)

    return edit


def _other_kind(path: Path) -> None:
    (other,) = (path.parent.parent / "popularity").iterdir()
    _write(path, other.read_bytes())


def _mixed(root: Path, target: Target) -> None:
    """Have the pointer name one artifact of another release: each artifact proves itself, the mix does not."""
    other = root.with_name(f"{root.name}-other")
    rows = {**ROWS, "cooc": {"i1": {"i2": 6}}}
    publish_fixture(FilesystemStore(other), target.tenant, target.surface, rows)
    (blob,) = (other / f"artifacts/{target.tenant}/{target.surface}/cooc").iterdir()
    shutil.copy(blob, root / f"artifacts/{target.tenant}/{target.surface}/cooc")
    shutil.rmtree(other)
    _address(lambda uri: f"{uri.rpartition('/')[0]}/{blob.name}")(root, target)


def _index(root: Path, target: Target) -> None:
    _blob("cooc.shards", lambda path: _write(path, path.read_bytes().replace(b'"rows":2', b'"rows":3')))(root, target)


def _shards(root: Path, target: Target) -> None:
    for path in (root / f"artifacts/{target.tenant}/{target.surface}/cooc").iterdir():
        path.chmod(0o644)
        _write(path, path.read_bytes().replace(b'"count":', b'"count":1'))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


if __name__ == "__main__":
    made = make_kit(Path(sys.argv[1]))
    print(f"{len(made)} cases in {sys.argv[1]}/cases.json")
