"""A kind made twice: by its coded kernel, and by its definition on an engine; what must be equal, side by side."""

from datetime import date
from typing import NamedTuple

import polars as pl

from recsys_assets.artifact_format import Blob
from recsys_assets.encoding.codec import encode
from recsys_assets.encoding.rows import Excluded
from recsys_assets.engines.building import make_on_engine, scan_source
from recsys_assets.engines.lists import encode_tags
from recsys_assets.engines.parts import write_file
from recsys_assets.events.event_files import encode_events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.inputs import LimitSettings

DAY = date(2026, 1, 1)
TARGET = Target("shop", "home")
MANY_BYTES = 10**9


class Outcome(NamedTuple):
    """What of an artifact does not depend on who made it."""

    blob: Blob
    left_out: Excluded
    numbers: dict
    rows: int


def window_of(days):
    return Window.ending(DAY, days=days)


def by_kernel(kind, source, params, *, target=TARGET, window=None):
    built = KINDS[kind].build(source, params, LimitSettings())
    window = window or window_of(1)
    blob = encode(built.rows, kind=kind, target=target, window=window, max_bytes=MANY_BYTES)
    return Outcome(blob, built.left_out, dict(built.numbers), len(built.rows))


def on_engine(engine, kind, sources, params, folder, *, target=TARGET, window=None):
    """Write each source as it is stored and make the kind of them all; `sources` are days, oldest first.

    `folder` is a path or an s3:// URI.
    """
    files = [write_source(source, f"{folder}/{n}.parquet") for n, source in enumerate(sources)]
    scanned = scan_source(engine, KINDS[kind], files)
    made = make_on_engine(
        engine,
        KINDS[kind],
        params.model_copy(update={"max_bytes": MANY_BYTES}),
        scanned,
        folder=str(folder),
        target=target,
        window=window or window_of(len(sources)),
    )
    return Outcome(made.blob, made.left_out, made.numbers, made.lists)


def write_source(source, file):
    write_file(file, encode_tags(source) if isinstance(source, pl.DataFrame) else encode_events(source))
    return file
