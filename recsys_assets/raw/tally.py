"""What the judged chunks of a day add up to: counts by file, target and reason, kept while they come in."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from recsys_assets.identity import Target
from recsys_assets.raw.faults import Fault
from recsys_assets.raw.judging import Judged, Refused
from recsys_assets.raw.rejects import Reason, Reject, show_line
from recsys_assets.raw.report import OTHER, FileRecord, RawReport, TargetReport
from recsys_assets.sources.source import RawInput

_MAX_NAMES = 100  # of unknown fields and of foreign targets; hostile input has as many as it has lines
_MAX_NAME_LENGTH = 200


@dataclass(slots=True)
class FileTally:
    """One input while it is read."""

    source: RawInput
    size: int = 0
    sha256: str = ""
    lines: int = 0
    error: str | None = None

    def record(self) -> FileRecord:
        """Return what is known of the input now."""
        name, targets = self.source.name, tuple(self.source.targets)
        return FileRecord(name, self.size, self.sha256, self.lines, targets, self.error)


@dataclass(slots=True)
class Tally:
    """The counts of a day so far."""

    day: date
    targets: Sequence[Target]
    files: list[FileTally] = field(default_factory=list[FileTally])
    events: Counter[Target] = field(default_factory=Counter[Target])
    rejects: defaultdict[Target, Counter[Reason]] = field(default_factory=lambda: defaultdict(Counter[Reason]))
    late: defaultdict[Target, Counter[str]] = field(default_factory=lambda: defaultdict(Counter[str]))
    unknown: Counter[str] = field(default_factory=Counter[str])
    foreign: Counter[str] = field(default_factory=Counter[str])
    refused: int = 0
    kept: int = 0

    def add(self, file: FileTally, judged: Judged, *, room: int) -> list[Reject]:
        """Count a chunk of a file; return its refused lines as quarantine keeps them, `room` at most."""
        rejects = [_reject(file, refused) for refused in judged.refused[:room]]
        file.lines += judged.lines
        for target, part in judged.parts:
            self.events[target] += len(part)
        for fault, count in judged.faults.items():
            self._blame(fault, count, file.source.targets)
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

    def _blame(self, fault: Fault, count: int, targets: Iterable[Target]) -> None:
        """Count a fault against the targets of its file that it may belong to: a name that it lacks fits all."""
        for target in targets:
            if fault.tenant in {None, target.tenant} and fault.surface in {None, target.surface}:
                self.rejects[target][fault.reason] += count
                if fault.day:
                    self.late[target][fault.day] += count

    def _target(self, target: Target, files: tuple[FileRecord, ...]) -> TargetReport:
        own = tuple(file for file in files if target in file.targets)
        late = self.late.get(target, Counter[str]())
        rejects = self.rejects.get(target, Counter[Reason]())
        return TargetReport(target, own, self.events[target], dict(sorted(rejects.items())), dict(sorted(late.items())))


def _reject(file: FileTally, refused: Refused) -> Reject:
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
