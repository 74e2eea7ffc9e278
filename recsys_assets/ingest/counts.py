"""Counts of a day's lines by file, target and reason."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from recsys_assets.identity import Target
from recsys_assets.ingest.line_judge import JudgedChunk, Refused
from recsys_assets.ingest.quarantine import NO_LINES, LineFault, Reason, Reject, hidden_lines, show_line
from recsys_assets.ingest.sources.forms import guess_form
from recsys_assets.ingest.sources.source import RawInput, Versioned
from recsys_assets.messages import plural

OTHER = "(other names)"
_MAX_NAMES = 100  # of unknown fields and of foreign targets; hostile input has as many as it has lines
_MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One input as it was read: bytes as stored, its mark, its lines; `error`: why it ended early."""

    name: str
    size: int
    digest: str
    lines: int
    targets: tuple[Target, ...]
    error: str | None = None
    version: str | None = None  # of a table that keeps versions: the one that was read


@dataclass(frozen=True, slots=True)
class TargetReport:
    """One target's share of a day.

    `rejects` counts refused lines by reason: those that name this target, and those of its files that name none.
    `late` counts its events of other days by day: they are quarantined as `out_of_window`, but are not bad. `spilled`
    counts those of neighbouring days, which read the same files.
    """

    target: Target
    files: tuple[FileRecord, ...]
    events: int
    rejects: Mapping[Reason, int]
    late: Mapping[str, int]
    spilled: int = 0

    @property
    def bad(self) -> int:
        """Bad lines: all refused ones but good events of other days."""
        return sum(count for reason, count in self.rejects.items() if reason is not Reason.OUT_OF_WINDOW)


@dataclass(frozen=True, slots=True)
class RawReport:
    """A day's ingest: its files, each target's share, and what was seen but is not ours.

    `unknown_fields` and `foreign` (tenant/surface that is not configured, or for which the file was not named) count
    good lines by name, a bounded number of names; the rest stands under `OTHER`. `rejects` counts all refused lines,
    `rejects_kept` how many of them were handed to quarantine with their text.
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
    """One input while it is read."""

    source: RawInput
    size: int = 0
    digest: str = ""
    lines: int = 0
    error: str | None = None
    good: int = 0  # lines that are events, of whatever day and target
    blank: int = 0
    first: Refused | None = None  # the first line that is neither good nor blank
    seen: set[Target] = field(default_factory=set[Target])  # targets that an event or a bad line names in full
    vague: Counter[LineFault] = field(default_factory=Counter[LineFault])  # lines that name no target, or not in full
    text: int = 0  # bytes of all lines, decompressed
    bad_text: Counter[Reason] = field(default_factory=Counter[Reason])  # bytes of bad lines
    appended: tuple[int, str] | None = None  # the first line, from 1, that is another file's, and what file's

    def record(self) -> FileRecord:
        """Return what is known of the input now."""
        name, targets = self.source.name, tuple(self.source.targets)
        version = self.source.version if isinstance(self.source, Versioned) else None
        return FileRecord(name, self.size, self.digest, self.lines, targets, self.error or self._useless(), version)

    def add(self, judged: JudgedChunk) -> None:
        """Count the lines of a chunk."""
        if judged.appended and not self.appended:
            self.appended = self.lines + judged.appended[0] + 1, judged.appended[1]
        self.lines += judged.lines
        late = sum(count for fault, count in judged.faults.items() if fault.reason is Reason.OUT_OF_WINDOW)
        self.good += judged.lines - judged.faults.total() + late
        self.blank += sum(count for fault, count in judged.faults.items() if fault.reason is Reason.BLANK_LINE)
        bad = [one for one in judged.refused if one.fault.reason not in {Reason.BLANK_LINE, Reason.OUT_OF_WINDOW}]
        self.first = self.first or next(iter(bad), None)
        self.text += judged.size
        for one in bad:
            self.bad_text[one.fault.reason] += one.size

    def hidden_lines(self) -> int:
        """Return how many more lines than they are the lines hold that are none."""
        bad = sum(count for fault, count in self.vague.items() if fault.reason in NO_LINES)
        bad_bytes = sum(self.bad_text[reason] for reason in NO_LINES)
        return hidden_lines(bad, bad_bytes, good=self.good, good_bytes=self.text - self.bad_text.total())

    def _useless(self) -> str | None:
        """Return why a file is refused as a whole: another one is appended to it, or none of its lines is good.

        Blank lines alone are nothing.
        """
        if self.appended:
            where, what = f"{self.source.name}: line {self.appended[0]:,}", self.appended[1]
            return (
                f"{where} is no text, but the beginning of {what}: store the two as files of their own, and run again"
            )
        if self.good or self.lines == self.blank:
            return None
        what = f"{self.source.name} has {plural(self.lines, 'line')}, and none is an event"
        if self.first is None:
            return f"{what}: see quarantine, replace the file and run the day again"
        reason, form = self.first.fault.reason, guess_form(self.first.text)
        return f"{what} (first: {reason.value}): it seems to hold {form}; replace the file and run the day again"


@dataclass(slots=True)
class DayCounter:
    """The counts of a day so far."""

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
        """Count a chunk of a file; return its refused lines as quarantine keeps them, `room` at most."""
        rejects = [_reject(file, refused) for refused in judged.refused[:room]]
        self.spilled += judged.spilled
        file.add(judged)
        for target, part in judged.parts:
            self.events[target] += len(part)
            file.seen.add(target)
        for fault, count in judged.faults.items():
            self._blame(fault, count, file)
        _count_bounded(self.unknown, judged.unknown)
        _count_bounded(self.foreign, {"/".join(names): count for names, count in judged.foreign.items()})
        self.refused += judged.faults.total()
        self.kept += len(rejects)
        return rejects

    def report(self) -> RawReport:
        """Return the counts as they are now."""
        files = tuple(file.record() for file in self.files)
        targets = {target: self._target(target, files) for target in self.targets}
        return RawReport(self.day, files, targets, dict(self.unknown), dict(self.foreign), self.refused, self.kept)

    def _blame(self, fault: LineFault, count: int, file: FileCounter) -> None:
        """Count a fault against the target that it names; one that names none waits for the end of the file."""
        fitting = [target for target in file.source.targets if _fits(fault, target)]
        if fault.tenant is None or fault.surface is None:
            if fitting:  # names of nobody we know would grow without bound
                file.vague[fault] += count
            return
        for target in fitting:
            if fault.reason is not Reason.OUT_OF_WINDOW:
                file.seen.add(target)
            self.rejects[target][fault.reason] += count
            if fault.day:
                self.late[target][fault.day] += count

    def _vague(self, target: Target) -> Counter[Reason]:
        """Refused lines that may be this target's: of its files, those that name none, and fit.

        They count against the targets that the file holds anything of, or else one bad line in a shared file would
        make a target's quiet day a bad one; against all of the file's targets when it holds nothing of any.
        """
        counts = Counter[Reason]()
        for file in self.files:
            for fault, count in file.vague.items():
                fitting = {other for other in file.source.targets if _fits(fault, other)}
                if target in (fitting & file.seen or fitting):
                    counts[fault.reason] += count
            if target in file.seen.intersection(file.source.targets):
                counts[Reason.HIDDEN_LINES] += file.hidden_lines()
        return +counts

    def _target(self, target: Target, files: tuple[FileRecord, ...]) -> TargetReport:
        own = tuple(file for file in files if target in file.targets)
        late = self.late.get(target, Counter[str]())
        rejects = self.rejects.get(target, Counter[Reason]()) + self._vague(target)
        return TargetReport(
            target,
            own,
            self.events[target],
            dict(sorted(rejects.items())),
            dict(sorted(late.items())),
            self.spilled[target],
        )


def _fits(fault: LineFault, target: Target) -> bool:
    """Return whether the refused line may belong to the target by the names that it carries."""
    return fault.tenant in {None, target.tenant} and fault.surface in {None, target.surface}


def _reject(file: FileCounter, refused: Refused) -> Reject:
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
    """Add counts by name, but to `OTHER` once there are too many names."""
    for name, count in more.items():
        short = name[:_MAX_NAME_LENGTH]
        counts[short if short in counts or len(counts) < _MAX_NAMES else OTHER] += count
