"""Days of files in any place and form, and the law of whatever ingest makes of them: nothing is lost in silence."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from hypothesis import strategies as st

from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings

DAY = date(2026, 3, 29)  # clocks change on it in half of Europe
TARGETS = Target("shop", "home"), Target("shop", "cart"), Target("other", "home")
START = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)

# Instants around the day's bounds, spelled in zones from -12:00 to +14:00, also by odd minutes.
ZONES = st.sampled_from([0, 60, 480, 840, -720, -210, 330, 345, 765, 1]).map(lambda m: timezone(timedelta(minutes=m)))
SECONDS = st.one_of(st.integers(0, 86_399), st.sampled_from([-1, 0, 86_399, 86_400, 7_200, -28_800, 100_800]))


def event(target, seconds, zone, number):
    ids = {"tenant": target.tenant, "surface": target.surface, "session_id": f"s{number % 7}", "user_id": "u"}
    return {"ts": (START + timedelta(seconds=seconds)).astimezone(zone), **ids, "item_id": f"é{number}"}


EVENTS = st.builds(event, st.sampled_from(TARGETS), SECONDS, ZONES, st.integers(0, 99))
BAD = st.sampled_from([b"{", b"", b" ", b"[]", b"null", b'{"v":2}', b"\xff\xfa", b'{"v":1}', b"a,b,c", b"\0", b'"x"'])
ROWS = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, BAD), max_size=8)


def text_of(row):
    return row if isinstance(row, bytes) else json.dumps({"v": 1, **row, "ts": row["ts"].isoformat()}).encode()


def parquet(rows):
    names = ("tenant", "surface", "session_id", "user_id", "item_id")
    schema = pa.schema([("ts", pa.timestamp("us", "UTC")), *((name, pa.string()) for name in names)])
    stored = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), stored)
    return stored.getvalue()


def gzipped(text):
    return gzip.compress(text, mtime=0)


def zipped(text):
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(zipfile.ZipInfo("e.jsonl"), text)  # of a fixed time: equal draws are equal bytes
    return stored.getvalue()


ORDINARY = {
    "lines": lambda rows: b"".join(row + b"\n" for row in rows),
    "no last line end": b"\n".join,
    "CRLF": lambda rows: b"".join(row + b"\r\n" for row in rows),
    "mark": lambda rows: b"\xef\xbb\xbf" + b"".join(row + b"\n" for row in rows),
}
ODD = {
    "CR": b"\r".join,
    "array": lambda rows: b"[" + b",".join(rows) + b"]",
    "array of lines": lambda rows: b"[\n" + b",\n".join(rows) + b"\n]\n",
    "concatenated": b"".join,
    "UTF-16": lambda rows: b"\n".join(rows).decode("latin-1").encode("utf-16"),
    "UTF-16 without a mark": lambda rows: b"\n".join(rows).decode("latin-1").encode("utf-16-be"),
    "UTF-32": lambda rows: b"\n".join(rows).decode("latin-1").encode("utf-32"),
    "zip": lambda rows: zipped(b"\n".join(rows)),
    "two compressions": lambda rows: gzipped(bz2.compress(b"\n".join(rows))),
    "Parquet": lambda _: parquet([]),
}


def in_pieces(pack):
    return lambda data: b"".join(pack(data[n : n + 100]) for n in range(0, len(data), 100)) or pack(b"")


PACK = {
    "plain": bytes,
    "gzip": gzipped,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "gzip members": in_pieces(gzipped),
    "bz2 streams": in_pieces(bz2.compress),
    "xz streams": in_pieces(lzma.compress),
    "zstd frames": in_pieces(zstandard.compress),
}
COMPRESSIONS = (".gz", ".GZ", ".gzip", ".zst", ".ZSTD", ".bz2", ".xz")
ENDINGS = ("", ".jsonl", ".log", ".txt", ".JSON", ".parquet", *COMPRESSIONS)
UNFINISHED = (".tmp", "~", ".filepart", ".crdownload", ".bak", ".part", ".swp", ".orig", ".md5", "._COPYING_")
HIDDEN = ("_temporary/0/task_1/", ".staging/", "_committed/", ".spark-staging-1/x/", "_tmp/")
NAMES = (b"a", b"-1", b" b", b"caf\xc3\xa9", b"caf\xe9", b"x=y", b"[z]", b"q?", b"T23", b"%2F", b"\xe2\x80\xae", b"*")
LAYOUTS = {
    "raw/{day}*": ("raw/2026-03-29",),
    "raw/{day}/*": ("raw/2026-03-29/",),
    "raw/**/{day}*": ("raw/2026-03-29", "raw/a/2026-03-29", "raw/a/b c/2026-03-29"),
    "raw/day={day}/**/*": ("raw/day=2026-03-29/", "raw/day=2026-03-29/hour=01/", "raw/day=2026-03-29/_k=1/"),
    "raw/{day:%Y/%m/%d}/*/*": ("raw/2026/03/29/web/", "raw/2026/03/29/app é/"),
    "raw/{tenant}/{day}*": ("raw/shop/2026-03-29", "raw/other/2026-03-29"),
    "raw/[[]x]/{day}*": ("raw/[x]/2026-03-29",),
}


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file: its place, its bytes (None: a link to nowhere), and what must become of it.

    `lines` are those that it holds; None: it must be refused by name. `is_ordinary`: nothing is odd about it, so that
    it may only be refused if none of its lines is an event.
    """

    place: bytes
    data: bytes | None
    lines: list[bytes] | None
    is_ordinary: bool
    is_skipped: bool
    is_linked: bool


@dataclass(frozen=True, slots=True)
class MadeDay:
    template: str
    files: list[MadeFile]
    spill_days: int


def _unpack(stored):
    """Decompress as another implementation does; None where it is damaged."""
    try:
        if stored.startswith(b"\x1f\x8b"):
            return gzip.decompress(stored)
        if stored.startswith(b"BZh"):
            return bz2.decompress(stored)
        if stored.startswith(b"\xfd7zXZ"):
            return lzma.decompress(stored)
        if stored.startswith(b"\x28\xb5\x2f\xfd"):
            return _unzstd(stored)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zstandard.ZstdError):
        return None
    return stored


def _unzstd(stored):
    found = b""
    while stored:
        decoder = zstandard.ZstdDecompressor().decompressobj()
        found += decoder.decompress(stored)
        if not decoder.eof:
            return None
        stored = decoder.unused_data
    return found


def _lines(text):
    found = text.split(b"\n")
    return found if found[-1] else found[:-1]


@st.composite
def bodies(draw):
    """Return ending, stored bytes, lines (None: to be refused), and whether the file is ordinary."""
    if draw(st.integers(0, 4)) == 0:
        rows = draw(st.lists(EVENTS, max_size=8))
        whole = parquet(rows)
        cut = draw(st.sampled_from([len(whole)] * 4 + [len(whole) // 2]))
        is_whole = cut == len(whole)
        return draw(st.sampled_from([".parquet", ".PARQUET"])), whole[:cut], rows if is_whole else None, is_whole
    rows = [text_of(row) for row in draw(ROWS)]
    form = draw(st.sampled_from(sorted(ORDINARY) * 3 + sorted(ODD)))
    stored = PACK[draw(st.sampled_from(sorted(PACK)))]((ORDINARY | ODD)[form](rows))
    if stored and draw(st.integers(0, 9)) == 0:  # a transfer that broke off
        stored, form = stored[: draw(st.integers(0, len(stored) - 1))], "cut"
    ending, text = draw(st.sampled_from(ENDINGS)), _unpack(stored)
    if ending == ".parquet" and stored == parquet([]):  # a name that says what the bytes are
        return ending, stored, [], True
    is_packed = text is not stored
    promises_more = ending == ".parquet" or (ending in COMPRESSIONS and not is_packed and stored)
    lines = None if text is None or promises_more else _lines(text)
    return ending, stored, lines, lines is not None and form in ORDINARY


@st.composite
def days(draw):
    """Return a day of a few files below one template."""
    template = draw(st.sampled_from(sorted(LAYOUTS)))
    made = []
    for number in range(draw(st.integers(1, 5))):
        ending, data, lines, is_ordinary = draw(bodies())
        place = os.fsencode(draw(st.sampled_from(LAYOUTS[template])))
        name = draw(st.sampled_from(NAMES)) + b"%d" % number + ending.encode()
        oddity = draw(st.sampled_from(["", "", "", "", "unfinished", "hidden", "link", "dangling"]))
        if oddity == "unfinished":
            name += draw(st.sampled_from(UNFINISHED)).encode()
        is_hidden = oddity == "hidden" and template.endswith("/**/*")
        if is_hidden:
            place += draw(st.sampled_from(HIDDEN)).encode()
        if oddity == "dangling":
            data, lines = None, None
        if not _is_text(name):
            lines = None
        is_skipped = oddity == "unfinished" or is_hidden
        made.append(MadeFile(place + name, data, lines, is_ordinary, is_skipped, oddity in {"link", "dangling"}))
    return MadeDay(template, made, draw(st.sampled_from([0, 0, 1])))


def _is_text(name):
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def put(folder, made):
    """Write a day's files below a folder."""
    for number, file in enumerate(made.files):
        path = Path(folder, os.fsdecode(file.place))
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.is_linked:
            aside = Path(folder, f"aside-{number}")
            path.symlink_to(aside)
            path = aside
        if file.data is not None:
            path.write_bytes(file.data)


def read(folder, made):
    """Return the report of ingest on a day, what it put into quarantine, and the names that it passed over."""
    rows = [{"tenant": target.tenant, "surface": target.surface} for target in TARGETS]
    raw = {"exposures": made.template, "spill_days": made.spill_days}
    found = Settings.model_validate({"raw": raw, "targets": rows, "base": Path(folder)})
    rejects, skipped = [], []
    report = parse_day(
        find_inputs(found, DAY, skipped=skipped),
        day=DAY,
        targets=TARGETS,
        keep_part=lambda *_: None,
        keep_rejects=rejects.extend,
        spill_days=found.raw.spill_days,
    )
    return report, rejects, skipped


def check_nothing_is_lost(made, report, rejects, skipped):
    """Fail unless what is counted, quarantined, and named as skipped or refused is all that was there."""
    records = {record.name: record for record in report.files}
    assert len(records) == len(report.files), "a file is read twice"
    total, bad, is_sure = 0, 0, True
    for file in made.files:
        name = file.place.decode(errors="backslashreplace")
        is_passed = name in skipped or any(name.startswith(one) for one in skipped if one.endswith("/"))
        assert is_passed == file.is_skipped, f"passed over: {name!r}"
        if is_passed:
            assert name not in records
            continue
        record = records.pop(name)
        total += record.lines
        events = sum(not isinstance(one, bytes) or _is_event(one) for one in file.lines or ())
        if record.error:
            assert name in record.error, "an error names its file"
            assert not (file.is_ordinary and file.lines and events), f"an ordinary file is refused: {record.error}"
            is_sure = is_sure and not record.lines
        else:
            assert file.lines is not None, f"{name!r} is read as {record.lines} lines"
            assert record.lines == len(file.lines), name
            bad += record.lines - events
    assert not records, f"files that nobody wrote: {list(records)}"
    good = sum(share.events + share.spilled for share in report.targets.values()) + sum(report.foreign.values())
    assert good + len(rejects) == good + report.rejects == total
    refused = sum(reject.reason is not Reason.OUT_OF_WINDOW for reject in rejects)
    assert not is_sure or refused == bad, "good lines are refused, or bad ones taken"


def _is_event(line):
    """Return whether a line is one of the events that were generated; one behind a byte order mark is a bad line."""
    try:
        found = json.loads(line.decode())
    except ValueError:
        return False
    return isinstance(found, dict) and "ts" in found
