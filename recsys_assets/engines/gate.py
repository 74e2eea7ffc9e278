"""The engine gate: a canary on the chosen engine before it builds anything; other rows than the kernel's refuse it."""

import polars as pl

from recsys_assets.artifact_format import Blob
from recsys_assets.encoding.codec import encode_content
from recsys_assets.encoding.decoder import decode
from recsys_assets.encoding.rows import Built
from recsys_assets.engines.building import Made, make_on_engine, scan_source
from recsys_assets.engines.canary import (
    TARGET,
    canary_catalog,
    canary_days,
    canary_params,
    canary_source,
    canary_window,
)
from recsys_assets.engines.content_sim import encode_tags
from recsys_assets.engines.engine import Engine
from recsys_assets.engines.output import attempt
from recsys_assets.engines.parts import write_file
from recsys_assets.errors import CorruptObjectError, EngineRefusedError
from recsys_assets.events.parquet import encode_events
from recsys_assets.kinds.registry import Kind
from recsys_assets.settings.inputs import LimitSettings


def prove_engine(engine: Engine, kind: Kind, *, work: str, proven: set[tuple[str, str]]) -> None:
    """Build the canary's artifact of a kind on an engine, which writes below `work`, and compare it with the kernel's.

    Once for each engine and kind, which are kept in `proven`. Raises `EngineRefusedError` with the first row that
    differs.
    """
    if (engine.identity, kind.name) in proven:
        return
    built = kind.build(canary_source(kind.name), canary_params(kind.name), LimitSettings())
    with attempt(work, "canary") as folder:
        made = _on_engine(engine, kind, folder)
    difference = _difference(kind, built, made)
    if difference:
        raise EngineRefusedError(
            f'engine = "{engine.name}" ({engine.identity}) is refused for {kind.name}: on the canary {difference}; '
            'nothing was built: choose another engine for this kind (engine = "native"), or another version of it'
        )
    proven.add((engine.identity, kind.name))


def _on_engine(engine: Engine, kind: Kind, folder: str) -> Made:
    files = [f"{folder}/{number}.parquet" for number in range(1 if kind.from_catalog else len(canary_days()))]
    contents = [encode_tags(canary_catalog())] if kind.from_catalog else [encode_events(day) for day in canary_days()]
    for file, content in zip(files, contents, strict=True):
        write_file(file, content)
    source, params = scan_source(engine, kind, files), canary_params(kind.name)
    return make_on_engine(engine, kind, params, source, folder=folder, target=TARGET, window=canary_window())


def _difference(kind: Kind, built: Built, made: Made) -> str:
    """Say what differs first between the kernel's artifact and the engine's, or nothing."""
    expected = encode_content(
        built.rows, kind=kind.name, target=TARGET, window=canary_window(), max_bytes=len(made.blob.data) * 9
    )
    if made.blob.ref.version != expected.ref.version:
        return _first_row(kind, expected, made.blob)
    message = {"left out": (built.left_out, made.left_out), "numbers": (dict(built.numbers), made.numbers)}
    return "; ".join(f"{what}: expected {old}, found {new}" for what, (old, new) in message.items() if old != new)


def _first_row(kind: Kind, expected: Blob, made: Blob) -> str:
    wanted = decode(expected.data, kind.row_shape)[1].frame()
    try:
        found = decode(made.data, kind.row_shape)[1].frame()
    except CorruptObjectError as error:
        return f"its bytes cannot be read back: {error}"
    rows = enumerate(zip(wanted.rows(), found.rows(), strict=False))
    place = next((n for n, (one, other) in rows if one != other), min(len(wanted), len(found)))
    return f"row {place} is {_row(found, place)}, expected {_row(wanted, place)} ({len(found)} rows of {len(wanted)})"


def _row(frame: pl.DataFrame, place: int) -> str:
    return str(frame.row(place)) if place < len(frame) else "missing"
