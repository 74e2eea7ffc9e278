"""Lines for tests: a good one to start from, and what the compiled scan makes of lines."""

import json

import numpy as np

from recsys_assets.ingest.chunk_scan import TABLES, Progress, buffer_bytes, new_scanner, scan_chunk, start_chunk
from recsys_assets.ingest.line_reader import RawEvent
from recsys_assets.ingest.part_merge import ABSENT

GOOD = {
    "v": 1,
    "ts": "2026-01-01T08:00:00Z",
    "tenant": "shop",
    "surface": "home",
    "user_id": "u1",
    "session_id": "s1",
    "item_id": "i1",
    "request_id": "r1",
    "rank": 3,
    "event": "click",
}
EVENT = RawEvent(
    ts=1_767_254_400_000_000_000,
    tenant="shop",
    surface="home",
    user_id="u1",
    session_id="s1",
    rank=3,
    item_id="i1",
    request_id="r1",
    event="click",
)
LEFT_OUT = object()


def line(**changes):
    """Return the good line with some fields changed, added, or (`LEFT_OUT`) removed."""
    fields = {name: value for name, value in {**GOOD, **changes}.items() if value is not LEFT_OUT}
    return json.dumps(fields, ensure_ascii=False).encode()


def scan(lines, *, needs_session=True):
    """Return, for each line, the event that the compiled scan makes of it, or None where it hands the line back."""
    data = b"".join(text + b"\n" for text in lines)
    chunk_bytes = max(len(data), 1 << 16)
    buffer = np.frombuffer(bytearray(data.ljust(buffer_bytes(chunk_bytes), b"\xaa")), np.uint8)
    scanner = new_scanner(chunk_bytes, needs_session=needs_session)
    found = [None] * len(lines)
    progress = start_chunk(scanner)
    while progress.position < len(data):
        progress = Progress(*scan_chunk(buffer, len(data), progress, scanner))._replace(handed_back=0)
    for row in range(progress.rows):
        found[int(scanner.scratch.lines[row, 0])] = _event(scanner, row)
    assert progress.line == len(lines)
    return found


def unknown_counts(lines):
    """Return how often the compiled scan counts each unknown name over the lines that it accepts."""
    data = b"".join(text + b"\n" for text in lines)
    chunk_bytes = max(len(data), 1 << 16)
    buffer = np.frombuffer(bytearray(data.ljust(buffer_bytes(chunk_bytes))), np.uint8)
    scanner = new_scanner(chunk_bytes)
    scan_chunk(buffer, len(data), start_chunk(scanner), scanner)
    table = TABLES.index("unknown")
    count = scanner.tables.state[table, 0]
    return {_text(scanner, table, code): int(scanner.scratch.name_counts[code]) for code in range(count)}


def _event(scanner, row):
    values = {name: _text(scanner, table, scanner.scratch.codes[table, row]) for table, name in enumerate(TABLES[:-1])}
    return RawEvent(ts=int(scanner.scratch.ts[row]), rank=int(scanner.scratch.rank[row]), **values)


def _text(scanner, table, code):
    if code == ABSENT:
        return None
    start, length = scanner.tables.spans[table, code, :2]
    return scanner.tables.text[start : start + length].tobytes().decode()
