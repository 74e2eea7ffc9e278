"""Counts of a day's lines by file, target and reason."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import msgspec

from recsys_assets.identity import Target
from recsys_assets.ingest.line_judge import JudgedChunk, RefusedLine
from recsys_assets.ingest.quarantine import LINE_HIDING_REASONS, LineFault, Reason, Reject, hidden_lines, show_line
from recsys_assets.ingest.sources.forms import guess_form
from recsys_assets.ingest.sources.source import RawInput, Versioned
from recsys_assets.messages import plural

OTHER = "(other names)"
_MAX_NAMES = 100  # Limit of unknown fields, and of foreign targets: hostile input may hold a new one in every line.
_MAX_NAME_LENGTH = 200


class FileRecord(msgspec.Struct, frozen=True):
    """One input as read: size and digest of its stored bytes, and its number of lines.

    `error` says why it is unusable: it could not be read to its end, or it holds no events.
    """

    name: str
    size: int
    digest: str
    lines: int
    targets: tuple[Target, ...]
    error: str | None = None
    version: str | None = None  # the version that was read, of a table with versions


class TargetReport(msgspec.Struct, frozen=True):
    """One target's share of a day.

    `rejects` counts refused lines by reason: lines that name this target, and lines of its files that name no target.
    `late` counts its events of other days by day. They are quarantined as `out_of_window`, but are not bad lines.
    `spilled` counts its events of neighbouring days, whose runs read the same files.
    """

    target: Target
    files: tuple[FileRecord, ...]
    events: int
    rejects: Mapping[Reason, int]
    late: Mapping[str, int]
    spilled: int = 0

    @property
    def bad(self) -> int:
        """Number of bad lines: all refused lines except good events of other days."""
        return sum(count for reason, count in self.rejects.items() if reason is not Reason.OUT_OF_WINDOW)


class RawReport(msgspec.Struct, frozen=True):
    """A day's ingest: its files, the report of each target, and counts of unknown fields and foreign targets.

    `unknown_fields` counts good lines by the name of a field outside the contract. `foreign` counts good lines by
    tenant/surface, where it is not configured or not a target of the file. Both hold a bounded number of names. All
    other names are counted under `OTHER`. `rejects` is the number of refused lines, and `rejects_kept` the number that
    was handed to quarantine with their text.
    """

    day: date
    files: tuple[FileRecord, ...]
    targets: Mapping[Target, TargetReport]
    unknown_fields: Mapping[str, int]
    foreign: Mapping[str, int]
    rejects: int
    rejects_kept: int


@dataclass(slots=True)
class FileCounter:
    """Counts of one input while it is read."""

    source: RawInput
    size: int = 0
    digest: str = ""
    lines: int = 0
    error: str | None = None
    good: int = 0  # lines that are events, of any day and target
    blank: int = 0
    first: RefusedLine | None = None  # the first line that is neither good nor blank
    seen: set[Target] = field(default_factory=set[Target])  # targets that an event or a bad line names in full
    unassigned: Counter[LineFault] = field(default_factory=Counter[LineFault])  # faults of lines without a full target
    text: int = 0  # bytes of all lines, decompressed
    bad_text: Counter[Reason] = field(default_factory=Counter[Reason])  # bytes of bad lines by reason
    appended: tuple[int, str] | None = None  # first line (from 1) where another file begins, and the form of that file

    def record(self) -> FileRecord:
        """Return the record of the input with the counts so far."""
        name, targets = self.source.name, tuple(self.source.targets)
        version = self.source.version if isinstance(self.source, Versioned) else None
        return FileRecord(
            name, self.size, self.digest, self.lines, targets, self.error or self._unusable_message(), version
        )

    def add(self, judged: JudgedChunk) -> None:
        """Count the lines of a chunk."""
        if judged.appended and not self.appended:
            self.appended = self.lines + judged.appended[0] + 1, judged.appended[1]
        self.lines += judged.lines
        late = sum(count for fault, count in judged.faults.items() if fault.reason is Reason.OUT_OF_WINDOW)
        self.good += judged.lines - judged.faults.total() + late
        self.blank += sum(count for fault, count in judged.faults.items() if fault.reason is Reason.BLANK_LINE)
        bad = [line for line in judged.refused if line.fault.reason not in {Reason.BLANK_LINE, Reason.OUT_OF_WINDOW}]
        self.first = self.first or next(iter(bad), None)
        self.text += judged.size
        for line in bad:
            self.bad_text[line.fault.reason] += line.size

    def hidden_lines(self) -> int:
        """Estimate, from their size, how many records are hidden in unparsable lines."""
        bad = sum(count for fault, count in self.unassigned.items() if fault.reason in LINE_HIDING_REASONS)
        bad_bytes = sum(self.bad_text[reason] for reason in LINE_HIDING_REASONS)
        return hidden_lines(bad, bad_bytes, good=self.good, good_bytes=self.text - self.bad_text.total())

    def _unusable_message(self) -> str | None:
        """Return the message of a file that is refused as a whole, or None if it is usable.

        A file is refused if another file is appended to it, or if it has lines but no good line. A file of blank lines
        counts as empty.
        """
        if self.appended:
            where, fault = f"{self.source.name}: line {self.appended[0]:,}", self.appended[1]
            return f"{where} is not text, but the beginning of {fault}: store the two as separate files, and run again"
        if self.good or self.lines == self.blank:
            return None
        fault = f"{self.source.name} has {plural(self.lines, 'line')}, and none is an event"
        if self.first is None:
            return f"{fault}: see quarantine, replace the file and run the day again"
        reason, form = self.first.fault.reason, guess_form(self.first.text)
        return f"{fault} (first: {reason.value}): it seems to hold {form}; replace the file and run the day again"


@dataclass(slots=True)
class DayCounter:
    """Counts of a day while its files are read."""

    day: date
    targets: Sequence[Target]
    files: list[FileCounter] = field(default_factory=list[FileCounter])
    events: Counter[Target] = field(default_factory=Counter[Target])
    rejects: defaultdict[Target, Counter[Reason]] = field(default_factory=lambda: defaultdict(Counter[Reason]))
    late: defaultdict[Target, Counter[str]] = field(default_factory=lambda: defaultdict(Counter[str]))
    spilled: Counter[Target] = field(default_factory=Counter[Target])
    unknown: Counter[str] = field(default_factory=Counter[str])
    foreign: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    kept: int = 0

    def add(self, file: FileCounter, judged: JudgedChunk, *, room: int) -> list[Reject]:
        """Count a chunk of a file. Returns its refused lines in the form of quarantine, at most `room`."""
        rejects = [_reject(file, refused) for refused in judged.refused[:room]]
        self.spilled += judged.spilled
        file.add(judged)
        for target, part in judged.parts:
            self.events[target] += len(part)
            file.seen.add(target)
        for fault, count in judged.faults.items():
            self._count_fault(fault, count, file)
        _count_bounded(self.unknown, judged.unknown)
        _count_bounded(self.foreign, {"/".join(names): count for names, count in judged.foreign.items()})
        self.refused += judged.faults.total()
        self.kept += len(rejects)
        return rejects

    def report(self) -> RawReport:
        """Return the report of the counts so far."""
        files = tuple(file.record() for file in self.files)
        targets = {target: self._target(target, files) for target in self.targets}
        return RawReport(self.day, files, targets, dict(self.unknown), dict(self.foreign), self.refused, self.kept)

    def _count_fault(self, fault: LineFault, count: int, file: FileCounter) -> None:
        """Count a fault against the target that the line names. Without a full target it waits for the file's end."""
        fitting = [target for target in file.source.targets if _may_belong(fault, target)]
        if fault.tenant is None or fault.surface is None:
            if fitting:  # the names of unknown targets would grow without bound
                file.unassigned[fault] += count
            return
        for target in fitting:
            if fault.reason is not Reason.OUT_OF_WINDOW:
                file.seen.add(target)
            self.rejects[target][fault.reason] += count
            if fault.day:
                self.late[target][fault.day] += count

    def _unassigned_rejects(self, target: Target) -> Counter[Reason]:
        """Count refused lines without a full target that may belong to this target, by reason.

        A file's refused lines count against those of its targets of which it holds at least one line: otherwise one bad
        line in a shared file would turn a quiet day of a target into a bad one. If the file holds no line of any of its
        targets, they count against all of them.
        """
        counts = Counter[Reason]()
        for file in self.files:
            for fault, count in file.unassigned.items():
                fitting = {other for other in file.source.targets if _may_belong(fault, other)}
                if target in (fitting & file.seen or fitting):
                    counts[fault.reason] += count
            if target in file.seen.intersection(file.source.targets):
                counts[Reason.HIDDEN_LINES] += file.hidden_lines()
        return +counts

    def _target(self, target: Target, files: tuple[FileRecord, ...]) -> TargetReport:
        own = tuple(file for file in files if target in file.targets)
        late = self.late.get(target, Counter[str]())
        rejects = self.rejects.get(target, Counter[Reason]()) + self._unassigned_rejects(target)
        return TargetReport(
            target,
            own,
            self.events[target],
            dict(sorted(rejects.items())),
            dict(sorted(late.items())),
            self.spilled[target],
        )


def _may_belong(fault: LineFault, target: Target) -> bool:
    """Return whether a refused line may belong to the target: the names that it carries, if any, are the target's."""
    return fault.tenant in {None, target.tenant} and fault.surface in {None, target.surface}


def _reject(file: FileCounter, refused: RefusedLine) -> Reject:
    fault = refused.fault
    text, escaped = show_line(refused.text)
    return Reject(
        file=file.source.name,
        line=file.lines + refused.line + 1,
        reason=fault.reason,
        detail=fault.detail,
        size=refused.size,
        text=text,
        escaped=escaped,
        tenant=fault.tenant,
        surface=fault.surface,
        day=fault.day,
    )


def _count_bounded(counts: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts by name. New names are counted under `OTHER` once there are `_MAX_NAMES`."""
    for name, count in more.items():
        short = name[:_MAX_NAME_LENGTH]
        counts[short if short in counts or len(counts) < _MAX_NAMES else OTHER] += count
