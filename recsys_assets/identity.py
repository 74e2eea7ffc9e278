"""The values that address everything: targets, windows, and references to artifacts."""

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


def check_segment(name: str, *, what: str) -> str:
    """Return `name` if it can be one path segment, one object-key segment and one URI segment; raise otherwise.

    Raises `UnsafeNameError`: choose another name, or give the target a name that every store can carry.
    """
    fault = _fault_of(name)
    if fault is not None:
        raise UnsafeNameError(f"{what} {fault}")
    return name


@lru_cache(maxsize=4096)  # the names of a run are few, and stand in every one of its keys
def _fault_of(name: str) -> str | None:
    """Return what keeps a name from being a segment, or None if nothing does."""
    if not name:
        return "is empty: give it a name"
    if name in {".", ".."}:
        return f"{name!r} would walk the folder tree: choose another name"
    bad = sorted({c for c in name if c in _RESERVED or unicodedata.category(c) in {"Cc", "Cs", "Cf", "Zl", "Zp"}})
    if bad:
        return f"{name!r} holds {bad!r}: none of / \\ ? # %, control or format characters may stand in it"
    if name != name.strip() or name.endswith("."):
        return f"{name!r} begins or ends with white space, or ends with a dot: some file systems drop those"
    size = len(name.encode())
    if size > MAX_SEGMENT_BYTES:
        return f"{name[:40]!r}... takes {size} bytes: at most {MAX_SEGMENT_BYTES}"
    return None


def check_distinct(names: Iterable[str], *, what: str) -> None:
    """Raise `UnsafeNameError` if two names differ only by case or Unicode form: some stores hold them as one."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        other = seen.setdefault(folded, name)
        if other != name:
            raise UnsafeNameError(f"{what} {other!r} and {name!r} differ only by case or Unicode form: rename one")


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One (tenant, surface) that is built, gated and shipped by itself; `segment` is a label in its artifacts."""

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
    """Whole UTC days, half-open: `[first, last + 1 day)`."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigurationError(f"window ends on {self.last}, before it begins on {self.first}")

    @classmethod
    def ending(cls, day: date, *, days: int) -> "Window":
        """Return the window of `days` days whose last day is `day`."""
        if days < 1:
            raise ConfigurationError(f"window_days is {days}: at least 1")
        return cls(day - timedelta(days=days - 1), day)

    @property
    def start(self) -> datetime:
        """The first instant inside."""
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after."""
        after = self.last + timedelta(days=1)
        return datetime(after.year, after.month, after.day, tzinfo=UTC)

    @property
    def days(self) -> list[date]:
        """Every day inside, oldest first."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


@dataclass(frozen=True, slots=True, order=True)
class ArtifactRef:
    """One immutable blob: its kind, its version, and the size and SHA-256 of its stored bytes.

    The version is the content hash; behind it stand a dot and the form of the bytes, unless that is the kinds' JSON.
    """

    kind: str
    version: str
    size: int
    digest: str

    def __post_init__(self) -> None:
        check_segment(self.kind, what="artifact kind")
        for what, value, form in (("version", self.version, _VERSION), ("digest", self.digest, _SHA256)):
            if not form.fullmatch(value):
                raise ConfigurationError(f"{what} of {self.kind} is {value!r}: expected 64 lower-case hex digits")
        if self.size <= 0:
            raise ConfigurationError(f"size of {self.kind} is {self.size}: expected a positive number of bytes")


def is_version(text: str) -> bool:
    """Return whether a text names content as versions do: 64 hex digits, and perhaps a dot and a form."""
    return _VERSION.fullmatch(text) is not None


def form_of(version: str) -> str:
    """Return the form of a version's bytes, which is its file's ending: "json", or what stands behind the hash."""
    return version.partition(".")[2] or JSON_FORM


def is_slug(name: str) -> bool:
    """Return whether Dagster can carry `name` in an asset key, an op name and a tag at once."""
    return _SLUG.fullmatch(name) is not None


def rfc3339(instant: datetime) -> str:
    """Write an instant in UTC as RFC 3339 with `Z`, with microseconds only when there are any."""
    if instant.tzinfo is None:
        raise ConfigurationError(f"instant {instant!r} has no zone: pass one in UTC")
    text = instant.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 instant with a zone; raise `ConfigurationError` for anything else."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no RFC 3339 time: expected like 2026-01-31T04:00:00Z") from error
    if instant.tzinfo is None:
        raise ConfigurationError(f"{text!r} has no zone: write 2026-01-31T04:00:00Z, or an offset")
    return instant.astimezone(UTC)


"""How a request's id begins that says which release answered, and by which kind."""


def tag_request(release_id: str, kind: str, own: str) -> str:
    """Return a request's id that says which release answered it, and by which kind: `r1.<16 digits>.<kind>.<own>`."""
    if kind and _SLUG.fullmatch(kind) is None:
        raise UnsafeNameError(f"kind {kind!r} is no name of letters, digits and _")
    return f"r1.{release_id[:16]}.{kind}.{own}"
