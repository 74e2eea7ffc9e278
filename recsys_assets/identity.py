"""Identities: targets, windows, references to artifacts, and rules for names and timestamps."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from recsys_assets.errors import ConfigurationError, UnsafeNameError

MAX_SEGMENT_BYTES = 200
_SLUG = re.compile(r"[A-Za-z0-9_]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9a-f]{64}(?:\.(?!json$)[a-z0-9]{1,20})?")
JSON_FORM = "json"
_RESERVED = frozenset("?#%/\\")
REQUEST_TAG = r"^r1\.([0-9a-f]{16})\.([A-Za-z0-9_]*)\."
"""Pattern of the beginning of a tagged request id: 16 digits of the release, and the kind."""


def check_segment(name: str, *, what: str) -> str:
    """Return `name` if it can be one path segment, one object-key segment and one URI segment.

    Raises `UnsafeNameError` with the reason otherwise. The remedy is another name.
    """
    fault = _fault_of(name)
    if fault is not None:
        raise UnsafeNameError(f"{what} {fault}")
    return name


@lru_cache(maxsize=4096)  # a run has few names, which are part of all its keys
def _fault_of(name: str) -> str | None:
    """Return the reason why a name cannot be a segment, or None if it can."""
    if not name:
        return "is empty: expected a name"
    if name in {".", ".."}:
        return f"{name!r} would walk the folder tree: choose another name"
    bad = sorted({c for c in name if c in _RESERVED or unicodedata.category(c) in {"Cc", "Cs", "Cf", "Zl", "Zp"}})
    if bad:
        return f"{name!r} holds {bad!r}: expected a name without / \\ ? # %, control and format characters"
    if name != name.strip() or name.endswith("."):
        return f"{name!r} begins or ends with white space, or ends with a dot: some file systems drop these"
    size = len(name.encode())
    if size > MAX_SEGMENT_BYTES:
        return f"{name[:40]!r}... takes {size} bytes: at most {MAX_SEGMENT_BYTES}"
    return None


def check_distinct(names: Iterable[str], *, what: str) -> None:
    """Raise `UnsafeNameError` if two names differ only by case or Unicode form, which some stores conflate."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        other = seen.setdefault(folded, name)
        if other != name:
            raise UnsafeNameError(f"{what} {other!r} and {name!r} differ only by case or Unicode form: rename one")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One (tenant, surface), built, gated and shipped on its own. `segment` is a label in its artifacts.

    Raises `UnsafeNameError` for a name that cannot be a segment.
    """

    tenant: str
    surface: str
    segment: str | None = None

    def __post_init__(self) -> None:
        check_segment(self.tenant, what="tenant")
        check_segment(self.surface, what="surface")

    def __str__(self) -> str:
        return f"{self.tenant}/{self.surface}"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Range of whole UTC days, half-open: `[first, last + 1 day)`.

    Raises `ConfigurationError` if it ends before its start.
    """

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigurationError(f"window ends on {self.last}, before it begins on {self.first}")

    @classmethod
    def ending(cls, day: date, *, days: int) -> "Window":
        """Return the window of `days` days that ends with `day`. Raises `ConfigurationError` for less than one day."""
        if days < 1:
            raise ConfigurationError(f"window_days is {days}, expected at least 1")
        return cls(day - timedelta(days=days - 1), day)

    @property
    def start(self) -> datetime:
        """Start of the first day."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """End of the last day, exclusive."""
        after = self.last + timedelta(days=1)
        return datetime(after.year, after.month, after.day, tzinfo=UTC)

    @property
    def days(self) -> list[date]:
        """Days of the window, oldest first."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


@dataclass(frozen=True, slots=True, order=True)
class ArtifactRef:
    """One immutable blob: its kind, its version, and the size and SHA-256 of its stored bytes.

    The version is the content hash, followed by a dot and the format unless that is JSON.
    """

    kind: str
    version: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        check_segment(self.kind, what="artifact kind")
        for field, value, form in (("version", self.version, _VERSION), ("digest", self.digest, _SHA256)):
            if not form.fullmatch(value):
                raise ConfigurationError(f"{field} of {self.kind} is {value!r}: expected 64 lower-case hex digits")
        if self.size <= 0:
            raise ConfigurationError(f"size of {self.kind} is {self.size}: expected a positive number of bytes")


def is_version(text: str) -> bool:
    """Return whether a text is a version: 64 hex digits, optionally followed by a dot and a format."""
    return _VERSION.fullmatch(text) is not None


def form_of(version: str) -> str:
    """Return the format of a version's bytes, its file name extension: "json", or the text after the hash."""
    return version.partition(".")[2] or JSON_FORM


def is_slug(name: str) -> bool:
    """Return whether `name` is valid in Dagster as asset key, op name and tag."""
    return _SLUG.fullmatch(name) is not None


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def end_of(day: date) -> datetime:
    """Return the end of a UTC day: the start of the next one."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def rfc3339(instant: datetime) -> str:
    """Return a timestamp in UTC as RFC 3339 with `Z`. Raises `ConfigurationError` if it has no time zone."""
    if instant.tzinfo is None:
        raise ConfigurationError(f"timestamp {instant!r} has no time zone: expected one in UTC")
    text = instant.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Return the timestamp of an RFC 3339 text with a time zone, in UTC. Raises `ConfigurationError` for other text."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is not an RFC 3339 time: expected a time such as 2026-01-31T04:00:00Z"
        ) from error
    if instant.tzinfo is None:
        raise ConfigurationError(f"{text!r} has no time zone: expected Z or an offset, as in 2026-01-31T04:00:00Z")
    return instant.astimezone(UTC)


def tag_request(release_id: str, kind: str, own: str) -> str:
    """Return a request id tagged with the release and the kind that answered: `r1.<16 digits>.<kind>.<own>`.

    Raises `UnsafeNameError` for a kind or an own id that the tag cannot hold.
    """
    if kind and _SLUG.fullmatch(kind) is None:
        raise UnsafeNameError(f"kind {kind!r} is not a name of letters, digits and _")
    return f"r1.{release_id[:16]}.{kind}.{own}"
