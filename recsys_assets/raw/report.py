"""What became of a day's lines: counts by target, by reason and by file, and the outcome for each target."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from recsys_assets.identity import Target
from recsys_assets.raw.rejects import Reason


class Outcome(StrEnum):
    """What the day's input means for one target; only READY lets the day go on, the others leave live what is live."""

    NO_INPUT = "no_input"  # no file
    EMPTY_INPUT = "empty_input"  # files without a line
    NO_EVENTS = "no_events"  # lines, but none of this target and day
    UNREADABLE = "unreadable"  # a file that is truncated, corrupt, or changed while it was read
    TOO_MANY_BAD = "too_many_bad"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One input as it was read: bytes as stored, its mark, its lines; `error`: why it ended early."""

    name: str
    size: int
    digest: str
    lines: int
    targets: tuple[Target, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TargetReport:
    """One target's share of a day.

    `rejects` counts refused lines by reason: those that name this target, and those of its files that name none.
    `late` counts its events of other days by day: they are quarantined as `out_of_window`, but are not bad.
    """

    target: Target
    files: tuple[FileRecord, ...]
    events: int
    rejects: Mapping[Reason, int]
    late: Mapping[str, int]

    @property
    def bad(self) -> int:
        """Bad lines: all refused ones but good events of other days."""
        return sum(count for reason, count in self.rejects.items() if reason is not Reason.OUT_OF_WINDOW)

    @property
    def bad_share(self) -> float:
        """Bad lines over bad lines and events; 0 if there is neither."""
        return self.bad / (self.bad + self.events) if self.bad else 0.0

    def outcome(self, *, max_bad_share: float) -> Outcome:
        """Return what the day means for this target, if up to `max_bad_share` of its lines may be bad."""
        if not self.files:
            return Outcome.NO_INPUT
        if any(file.error for file in self.files):
            return Outcome.UNREADABLE
        if not any(file.lines for file in self.files):
            return Outcome.EMPTY_INPUT
        if self.bad_share > max_bad_share:
            return Outcome.TOO_MANY_BAD
        return Outcome.READY if self.events else Outcome.NO_EVENTS


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


OTHER = "(other names)"
