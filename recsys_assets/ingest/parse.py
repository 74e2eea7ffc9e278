"""Parsing of a day's raw files into coded parts per target, quarantined lines and counts. Each byte is read once."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

from recsys_assets.compiled.arrays import fresh_bytes
from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.chunk_scan import Scanner, buffer_bytes, new_scanner
from recsys_assets.ingest.chunks import CHUNK_BYTES, Buffer, Chunk, LongLine, read_chunks
from recsys_assets.ingest.counts import DayCounter, FileCounter, RawReport
from recsys_assets.ingest.line_judge import ChunkRules, JudgedChunk, judge_chunk, judge_long_line
from recsys_assets.ingest.line_reader import PLAIN, Reading
from recsys_assets.ingest.part_merge import Part, merge_parts
from recsys_assets.ingest.quarantine import Reject
from recsys_assets.ingest.sources.source import RawInput

PART_ROWS = 1 << 17
BUFFERED_ROWS = 1 << 19  # Rows of all targets. Above it the largest buffer is handed on, even below `PART_ROWS`.
T = TypeVar("T")
R = TypeVar("R")
_FIRST_YEAR, _LAST_YEAR = 1971, 2198  # the years whose timestamps the compiled scan reads


@dataclass(slots=True)
class PartBuffer:
    """Merges parts and passes them to `keep`: about `part_rows` rows each, fewer if many targets share the memory."""

    keep: Callable[[Target, Part], None]
    part_rows: int = PART_ROWS
    buffered_rows: int = BUFFERED_ROWS
    _parts: defaultdict[Target, list[Part]] = field(default_factory=lambda: defaultdict(list[Part]))
    _rows: dict[Target, int] = field(default_factory=dict[Target, int])

    def add_all(self, parts: Iterable[tuple[Target, Part]]) -> None:
        """Add parts of several targets."""
        for target, part in parts:
            self.add(target, part)

    def add(self, target: Target, part: Part) -> None:
        """Add a part of a target."""
        self._parts[target].append(part)
        self._rows[target] = self._rows.get(target, 0) + len(part)
        if self._rows[target] >= self.part_rows:
            self._hand_on(target)
        elif sum(self._rows.values()) >= self.buffered_rows:
            self._hand_on(max(self._rows, key=lambda name: (self._rows[name], name)))

    def flush(self) -> None:
        """Hand on the remaining parts of all targets."""
        for target in sorted(self._rows):
            self._hand_on(target)

    def _hand_on(self, target: Target) -> None:
        del self._rows[target]
        self.keep(target, merge_parts(self._parts.pop(target)))


KeepPart: TypeAlias = Callable[[Target, Part], None]
KeepRejects: TypeAlias = Callable[[Sequence[Reject]], None]


def parse_day(  # noqa: PLR0913 - input, callbacks, and bounds that tests make small
    files: Iterable[RawInput],
    *,
    day: date,
    targets: Sequence[Target],
    keep_part: KeepPart,
    keep_rejects: KeepRejects,
    reading: Reading = PLAIN,
    threads: int = 2,
    max_kept_rejects: int = 100_000,
    spill_days: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> RawReport:
    """Parse a day's files and return the counts.

    Each target's events are passed to `keep_part` in parts, refused lines with reason and text to `keep_rejects`. Every
    file is read once.

    A file serves the targets that it is named for. Its events of other targets are counted as foreign. Parts and
    rejects come in the order of the files, and do not depend on `threads`. `max_kept_rejects` bounds the quarantine of
    a day. Further refused lines are only counted. `reading` says whether events may lack a session, and whether values
    of refused lines are shown. Events of the `spill_days` days before and after are only counted, because the runs of
    those days read them. Memory is bounded by `chunk_bytes` and `threads`, not by the size of the files. `keep_part` is
    called on a separate thread, one part at a time, while the next lines are read.

    A file that cannot be read to its end, or that holds lines but no good line, does not stop the others: its record
    holds the error, and the day fails for its targets even if parts of it were handed on before. Raises
    `ConfigurationError` for a day that a Parquet timestamp in nanoseconds cannot hold.
    """
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise ConfigurationError(f"day {day} cannot be built: expected a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    tally = DayCounter(day, targets)
    parts = PartBuffer(keep_part)
    memory = _Memory(threads, chunk_bytes, needs_session=reading.needs_session)

    def judge(task: "_Task") -> JudgedChunk:
        file, piece = task
        served = {(target.tenant, target.surface): target for target in file.source.targets if target in targets}
        return memory.judge(piece, ChunkRules(day, served, max_kept_rejects, reading, spill_days))

    def count(chunks: Iterable[tuple["_Task", JudgedChunk]]) -> Iterator[Sequence[tuple[Target, Part]]]:
        for (file, _), judged in chunks:
            rejects = tally.add(file, judged, room=max_kept_rejects - tally.kept)
            if rejects:
                keep_rejects(rejects)
            yield judged.parts

    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as keeper:
        chunks = _in_order(pool, judge, _tasks(files, tally, memory, chunk_bytes), ahead=threads + 1)
        for _kept in _in_order(keeper, parts.add_all, count(chunks), ahead=2):
            pass
    parts.flush()
    return tally.report()


_Task: TypeAlias = tuple[FileCounter, Chunk | LongLine]


class _Memory:
    """Pool of the scanners and buffers that can be in use at once. Each is returned after use."""

    def __init__(self, threads: int, chunk_bytes: int, *, needs_session: bool) -> None:
        self._scanners: SimpleQueue[Scanner] = SimpleQueue()
        self.buffers: SimpleQueue[Buffer] = SimpleQueue()
        for _ in range(threads):
            self._scanners.put(new_scanner(chunk_bytes, needs_session=needs_session))
        for _ in range(threads + 2):
            self.buffers.put(fresh_bytes(buffer_bytes(chunk_bytes)))

    def judge(self, piece: Chunk | LongLine, rules: ChunkRules) -> JudgedChunk:
        if isinstance(piece, LongLine):
            return judge_long_line(piece, rules)
        scanner = self._scanners.get()
        try:
            return judge_chunk(piece, scanner, rules)
        finally:
            self._scanners.put(scanner)
            self.buffers.put(piece.buffer)


def _tasks(files: Iterable[RawInput], tally: DayCounter, memory: _Memory, chunk_bytes: int) -> Iterator[_Task]:
    """Yield the chunks of all files. Records size, digest or error of each file once it is read."""
    for source in files:
        file = FileCounter(source)
        tally.files.append(file)
        try:
            with source.open() as stream:
                buffers = memory.buffers
                for piece in read_chunks(stream, take=buffers.get, give_back=buffers.put, chunk_bytes=chunk_bytes):
                    yield file, piece
                file.size, file.digest = stream.size, stream.digest
        except InputError as error:
            file.error = str(error)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[T], R], tasks: Iterable[T], *, ahead: int
) -> Iterator[tuple[T, R]]:
    """Yield each task with its result, in the order of the tasks. At most `ahead` tasks are in progress."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    for task in tasks:
        waiting.append((task, pool.submit(work, task)))
        if len(waiting) >= ahead:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()
