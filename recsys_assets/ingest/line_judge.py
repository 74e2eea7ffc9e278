"""Judgement of the lines of one chunk: events by target, events of other days, and bad lines with their reasons."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsys_assets.identity import Target
from recsys_assets.ingest.chunk_scan import SURFACE, TENANT, UNKNOWN, Progress, Scanner, scan_chunk, start_chunk
from recsys_assets.ingest.chunks import Buffer, Chunk, LongLine
from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.line_reader import PLAIN, RawEvent, Reading, read_line
from recsys_assets.ingest.part_merge import Part, part_of, take_rows
from recsys_assets.ingest.quarantine import LINE_HIDING_REASONS, LineFault, Reason
from recsys_assets.ingest.sources.forms import appended_form
from recsys_assets.ingest.timestamps import DAY_SECONDS, NANOSECONDS, name_of_day

Names = tuple[str, str]
WITHHELD = b"(withheld, for it may name a user: see the line in its file)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()


class ChunkRules(msgspec.Struct, frozen=True):
    """Rules of judgement: the day, the requested targets, the limit of kept refused lines, and how lines are read."""

    day: date
    targets: Mapping[Names, Target]
    max_refused: int
    reading: Reading = PLAIN
    spill_days: int = 0

    @property
    def near(self) -> tuple[int, int]:
        """The first nanosecond of the window of the day and its spill days, and the first nanosecond after it."""
        spill = self.spill_days * DAY_SECONDS * NANOSECONDS
        return self.start - spill, self.end + spill

    @property
    def start(self) -> int:
        """The first nanosecond of the day."""
        return (self.day - _EPOCH).days * DAY_SECONDS * NANOSECONDS

    @property
    def end(self) -> int:
        """The first nanosecond after the day."""
        return self.start + DAY_SECONDS * NANOSECONDS


class RefusedLine(msgspec.Struct, frozen=True):
    """One refused line: its number in the chunk (from 0), its fault, its text or first bytes, and its size in bytes."""

    line: int
    fault: LineFault
    text: bytes
    size: int


@dataclass(slots=True)
class JudgedChunk:
    """Judgement of one chunk: `faults` counts every refused line, `refused` holds the first of them.

    `spilled` counts good events of neighbouring days, whose runs read the same file. `appended` is the first line (from
    0) in which another file begins, and the form of that file.
    """

    lines: int = 0
    size: int = 0  # bytes of all lines
    parts: list[tuple[Target, Part]] = field(default_factory=list[tuple[Target, Part]])
    refused: list[RefusedLine] = field(default_factory=list[RefusedLine])
    faults: Counter[LineFault] = field(default_factory=Counter[LineFault])
    foreign: Counter[Names] = field(default_factory=Counter[Names])
    unknown: Counter[str] = field(default_factory=Counter[str])
    spilled: Counter[Target] = field(default_factory=Counter[Target])
    appended: tuple[int, str] | None = None


def judge_long_line(line: LongLine, rules: ChunkRules) -> JudgedChunk:
    """Return the judgement of a line too long for a chunk."""
    fault = LineFault(Reason.TOO_LONG, f"{line.size} bytes: at most {MAX_LINE_BYTES}")
    text = line.head if rules.reading.shows_values else WITHHELD
    form = appended_form(line.head)
    return JudgedChunk(
        1,
        line.size,
        refused=[RefusedLine(0, fault, text, line.size)],
        faults=Counter([_without_detail(fault)]),
        appended=(0, form) if form else None,
    )


def judge_chunk(chunk: Chunk, scanner: Scanner, rules: ChunkRules) -> JudgedChunk:
    """Judge the lines of a chunk: by the compiled scan where it accepts them, else by the reference reader."""
    data = np.frombuffer(chunk.buffer, np.uint8)
    judged = JudgedChunk()
    slow = _SlowLineJudge(rules, judged)
    progress = start_chunk(scanner)
    while progress.position < chunk.size:
        progress = Progress(*scan_chunk(data, chunk.size, progress, scanner))
        slow.judge(chunk.buffer, scanner.scratch.handed_back[: progress.handed_back])
        progress = progress._replace(handed_back=0)
    judged.lines, judged.size = progress.line, chunk.size
    _count_names(scanner, judged)
    late = _split_by_target(scanner, progress.rows, rules, judged)
    slow.judge_late(chunk.buffer, scanner.scratch.lines[late])
    judged.parts += slow.parts()
    judged.refused.sort(key=lambda refused: refused.line)
    del judged.refused[rules.max_refused :]
    return judged


class _SlowLineJudge:
    """Judges lines one by one by the reference reader, and collects the good events by target."""

    def __init__(self, rules: ChunkRules, judged: JudgedChunk) -> None:
        self._rules = rules
        self._judged = judged
        self._remaining_refused = rules.max_refused
        self._events: defaultdict[Target, list[RawEvent]] = defaultdict(list)

    def judge(self, buffer: Buffer, lines: NDArray[np.int64]) -> None:
        """Judge lines (number, start, end) that the scan handed back."""
        for number, start, end in lines.tolist():
            text = bytes(buffer[start:end])
            event = read_line(text, self._rules.reading)
            if isinstance(event, RawEvent):
                self._judged.unknown.update(event.unknown)
                event = self._take(event)
            if event:
                self._refuse(number, event, text)

    def judge_late(self, buffer: Buffer, lines: NDArray[np.int64]) -> None:
        """Judge lines that the scan accepted, but whose day is another one. Their unknown names are already counted."""
        self._remaining_refused = self._rules.max_refused
        for number, start, end in lines.tolist():
            text = bytes(buffer[start:end])
            event = read_line(text, self._rules.reading)
            fault = self._take(event) if isinstance(event, RawEvent) else event
            if fault:
                self._refuse(number, fault, text)

    def parts(self) -> Iterator[tuple[Target, Part]]:
        """Return the good events as one part per target."""
        return ((target, part_of(events)) for target, events in self._events.items())

    def _take(self, event: RawEvent) -> LineFault | None:
        """Collect an event of this day, or count it as foreign or spilled. Returns the fault of one of another day."""
        names = event.tenant, event.surface
        target = self._rules.targets.get(names)
        if target is None:
            self._judged.foreign[names] += 1
        elif self._rules.start <= event.ts < self._rules.end:
            self._events[target].append(event)
        elif self._rules.near[0] <= event.ts < self._rules.near[1]:
            self._judged.spilled[target] += 1
        else:
            day = name_of_day(event.ts)
            return LineFault(Reason.OUT_OF_WINDOW, f"belongs to {day}: run that day with this file", *names, day)
        return None

    def _refuse(self, number: int, fault: LineFault, text: bytes) -> None:
        self._judged.faults[_without_detail(fault)] += 1
        if fault.reason in LINE_HIDING_REASONS and not self._judged.appended:
            form = appended_form(text)
            self._judged.appended = (number, form) if form else None
        if self._remaining_refused:
            self._remaining_refused -= 1
            shown = text if self._rules.reading.shows_values else WITHHELD
            self._judged.refused.append(RefusedLine(number, fault, shown, len(text)))


def _without_detail(fault: LineFault) -> LineFault:
    """Return the fault without its detail, which may differ from line to line: the key of the counts."""
    return LineFault(fault.reason, "", fault.tenant, fault.surface, fault.day)


def _count_names(scanner: Scanner, judged: JudgedChunk) -> None:
    count = int(scanner.tables.state[UNKNOWN, 0])
    names = _texts(scanner, UNKNOWN, range(count))
    judged.unknown.update(dict(zip(names, scanner.scratch.name_counts[:count].tolist(), strict=True)))


def _split_by_target(scanner: Scanner, rows: int, rules: ChunkRules, judged: JudgedChunk) -> NDArray[np.int64]:
    """Split the rows of a scan into parts by target. Returns the rows of requested targets that are of another day."""
    scratch = scanner.scratch
    tenants, surfaces = scratch.codes[TENANT, :rows].astype(np.int64), scratch.codes[SURFACE, :rows]
    pairs = tenants * max(int(scanner.tables.state[SURFACE, 0]), 1) + surfaces
    order = np.argsort(pairs, kind="stable")
    bounds = np.flatnonzero(np.diff(pairs[order])) + 1
    late: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for group in np.split(order, bounds) if rows else []:
        (tenant,) = _texts(scanner, TENANT, scratch.codes[TENANT, group[:1]])
        (surface,) = _texts(scanner, SURFACE, scratch.codes[SURFACE, group[:1]])
        target = rules.targets.get((tenant, surface))
        if target is None:
            judged.foreign[tenant, surface] += len(group)
            continue
        inside = (scratch.ts[group] >= rules.start) & (scratch.ts[group] < rules.end)
        near = (scratch.ts[group] >= rules.near[0]) & (scratch.ts[group] < rules.near[1])
        judged.spilled[target] += int((near & ~inside).sum())
        late.append(group[~near])
        if inside.any():
            values = scratch.ts, scratch.rank
            judged.parts.append((target, take_rows(scanner.tables, scratch.codes, values, group[inside])))
    return np.sort(np.concatenate(late))


def _texts(scanner: Scanner, table: int, codes: Iterable[int]) -> list[str]:
    text, spans = scanner.tables.text, scanner.tables.spans[table]
    return [text[spans[code, 0] : spans[code, 0] + spans[code, 1]].tobytes().decode() for code in codes]
