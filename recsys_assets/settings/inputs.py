"""Inputs and the store: `[storage]`, `[raw]`, `[partitions]`, `[limits]`."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from recsys_assets.settings.model import MAX_MINUTES, MAX_SECONDS, ClosedModel, Share, check_location

EventField: TypeAlias = Literal[
    "ts", "tenant", "surface", "session_id", "item_id", "user_id", "request_id", "rank", "event"
]
ConstantField: TypeAlias = Literal["tenant", "surface", "event"]

# A folder, or a bucket and prefix, as written in URIs: without empty segments, dot segments, ?, # and %.
_ROOT = re.compile(r"(file://(?=/)|(?:s3|gs|az):/(?=/)|)(/(?!\.{1,2}(/|$))[^/?#%\x00-\x1f\x7f]+)+/?")
TABLES = ("postgresql:", "delta:", "iceberg:", "duckdb:", "adbc:")


# Ending of the name of a driver option that holds a secret.
_SECRET = re.compile(
    r"(password|passcode|passphrase|secret|token|credentials?|api_?key|private_?key\w*|pkcs8_\w+)$", re.IGNORECASE
)
_PLACES = ("env:", "file:")


class StorageSettings(ClosedModel):
    """Location of the store, which holds everything that is built."""

    root: str = Field(
        default="data/store",
        description="folder (relative to the config file), or s3://, gs:// or az:// with bucket and prefix",
    )
    public_root: str | None = Field(
        default=None,
        description="root as services see it, if their mount or bucket differs: /folder, or a URI as in root",
    )
    must_exist: bool = Field(
        default=False,
        description="refuse a root without an initialized store (`recsys-assets init`), such as a missing mount",
    )

    @field_validator("root")
    @classmethod
    def _is_a_location(cls, root: str | None) -> str | None:
        return check_location(root)

    @field_validator("public_root")
    @classmethod
    def _is_a_root(cls, root: str | None) -> str | None:
        if root is not None and not _ROOT.fullmatch(root):
            raise ValueError(
                "expected a path such as /mnt/store, or s3://, gs:// or az:// with a bucket, without . and .. segments"
            )
        return root


class SigningSettings(ClosedModel):
    """Signatures over pointers, for readers that trust keys instead of the store. Off without a key."""

    key: str | None = Field(
        default=None, description='private ed25519 key in PEM, as "env:NAME" or "file:PATH"; unset: no signing'
    )
    other_key: str | None = Field(default=None, description="second key that also signs, for key rotation")
    valid_days: float = Field(
        default=14, gt=0, le=3660, description="days for which a signature is valid; `recsys-assets sign` renews it"
    )

    @field_validator("key", "other_key")
    @classmethod
    def _names_a_location(cls, location: str | None) -> str | None:
        return _check_location(location)

    @property
    def places(self) -> tuple[str, ...]:
        """References to the signing keys, as `env:NAME` or `file:PATH`."""
        return tuple(location for location in (self.key, self.other_key) if location is not None)


def _check_location(location: str | None) -> str | None:
    if location is not None and not re.fullmatch(r"(env|file):.+", location):
        raise ValueError('expected "env:NAME" or "file:PATH": the key itself must not be written here')
    return location


class AdbcSettings(ClosedModel):
    """Connection to the warehouse that `raw.exposures = "adbc:SELECT ..."` queries."""

    driver: str | None = Field(
        default=None,
        pattern="^[a-z0-9_]+$",
        description="snowflake, bigquery, or another driver for which adbc_driver_NAME is installed",
    )
    options: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='connection options of the driver, such as uri; secrets as "env:NAME" or "file:PATH"',
    )

    @field_validator("options")
    @classmethod
    def _holds_no_secret(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in options.items():
            if not value.startswith(_PLACES) and (_SECRET.search(name) or "@" in value):
                raise ValueError(
                    f'{name} may be a secret: store it elsewhere and refer to it as "env:NAME" or "file:PATH"'
                )
        return options


class RawSettings(ClosedModel):
    """Locations and formats of raw events and the catalog, and limits on bad lines."""

    exposures: str = Field(
        default="data/raw/{day}*.jsonl*",
        description="template with {day}, {tenant}, {surface}: a glob over paths, s3://, gs:// or az://; or a table, "
        "as postgresql:name, delta:path or iceberg:name; or a query, as duckdb:SELECT ... or adbc:SELECT ...",
    )
    columns: Mapping[EventField, str] = Field(
        default_factory=dict[EventField, str],
        description="column of each field in Parquet files and tables; default: the field's name",
    )
    constants: Mapping[ConstantField, str] = Field(
        default_factory=dict[ConstantField, str], description="value of a field that has no column, by field"
    )
    day_column: str | None = Field(
        default=None,
        description="column of UTC days in a Delta or Iceberg table, used with ts to select the day",
    )
    nested: str | None = Field(
        default=None,
        description="JSON column of a table whose items[] are the events of a row, each with item_id and rank",
    )
    tenants: str | None = Field(
        default=None, description="table that maps a tenant, by external_id or id, to tenant_id"
    )
    statement_timeout_seconds: float = Field(
        default=600,
        ge=1,
        le=MAX_SECONDS,
        description="timeout of one statement on a table or query",
    )
    query_interval_minutes: float = Field(
        default=15,
        ge=0.5,
        le=MAX_MINUTES,
        description="with automation.watch: minutes between checks of postgresql:, duckdb: and adbc:, each of which "
        "runs a query for every day that is checked",
    )
    adbc: AdbcSettings = AdbcSettings()
    session_gap_minutes: float | None = Field(
        default=None,
        gt=0,
        le=1440,
        description="events may lack session_id: a user's next event after a longer gap starts a new session; "
        "unset: such events are bad lines",
    )
    assume_utc: bool = Field(default=False, description="treat timestamps without a time zone as UTC")
    user_key: str | None = Field(
        default=None,
        description='key for hashing user ids on ingestion, as "env:NAME" or "file:PATH"; unset: ids are not hashed',
    )
    catalog: str | None = Field(
        default=None, description="item catalog, .jsonl or .csv; without it releases have no content_sim"
    )
    catalog_encoding: str = Field(
        default="utf-8", description='encoding of the catalog, such as "windows-1252"; lines end with LF'
    )
    catalog_delimiter: str = Field(default=",", min_length=1, max_length=1, description="delimiter of a CSV catalog")
    max_bad_catalog_share: Share = Field(
        default=0.01, description="share of bad catalog rows above which artifacts built from the catalog are refused"
    )
    rebuild_without_missing_files: bool = Field(
        default=False,
        description="allow the rebuild of a day from which raw files have disappeared, which loses their events",
    )
    spill_days: int = Field(
        default=0,
        ge=0,
        le=2,
        description="number of days before and after whose files are also read, for files cut by local days",
    )
    require_success: str | None = Field(
        default=None, description='marker file, such as "_SUCCESS", without which the files of a folder are ignored'
    )
    max_out_of_window_share: Share = Field(
        default=0.05, description="share of events that belong to other days above which the day fails for a target"
    )
    max_lost_share: Share = Field(
        default=0.05,
        description="maximum share of a stored day's distinct events that a rebuild may lose; 1 accepts any loss",
    )
    max_bad_share: Share = Field(
        default=0.01, description="share of bad lines above which the day fails for the affected targets"
    )

    @property
    def table_form(self) -> str | None:
        """Kind of table that events are read from: postgresql, delta, iceberg, duckdb or adbc, or None for files."""
        return next((scheme.rstrip(":") for scheme in TABLES if self.exposures.startswith(scheme)), None)

    @property
    def is_queried(self) -> bool:
        """Whether each look for changed events makes a database or a warehouse compute something."""
        return self.table_form in {"postgresql", "duckdb", "adbc"}

    @property
    def is_shared(self) -> bool:
        """Whether the input of a day holds the events of all targets, so that one look serves them all."""
        return self.table_form not in {None, "postgresql"}

    @field_validator("exposures", "catalog")
    @classmethod
    def _are_locations(cls, place: str | None) -> str | None:
        return check_location(place)

    @field_validator("user_key")
    @classmethod
    def _names_a_location(cls, location: str | None) -> str | None:
        return _check_location(location)

    @field_validator("catalog_encoding")
    @classmethod
    def _keeps_ascii(cls, name: str) -> str:
        ascii_bytes = bytes(range(128))
        try:
            keeps = ascii_bytes.decode(name) == ascii_bytes.decode("ascii")
        except (LookupError, UnicodeError):
            keeps = False
        if not keeps:
            raise ValueError('expected an encoding that contains ASCII, such as "utf-8", "windows-1252" or "shift_jis"')
        return name

    @field_validator("catalog_delimiter")
    @classmethod
    def _separates(cls, delimiter: str) -> str:
        if delimiter in '"\r\n' or not delimiter.isascii():
            raise ValueError('expected one ASCII character, not a quote or a line end, such as ";" or "\\t"')
        return delimiter


class PartitionSettings(ClosedModel):
    """First and last day of the partitions."""

    start: date = Field(default=date(2026, 1, 1), description="first day")
    end: date | None = Field(default=None, description="last day, for data that has ended; unset: yesterday")


class LimitSettings(ClosedModel):
    """Limits that protect memory. A target that exceeds one fails, and the message names the setting."""

    max_events: int = Field(default=100_000_000, ge=1, description="maximum number of events of one target and window")
    max_distinct_items: int = Field(
        default=5_000_000, ge=1, description="maximum number of distinct item ids of one target and window"
    )
    max_sessions: int = Field(
        default=50_000_000, ge=1, description="maximum number of distinct session ids of one target and window"
    )
    max_users: int = Field(
        default=10_000_000, ge=1, description="maximum number of distinct user ids of one target and window"
    )
    max_days: int = Field(default=400, ge=1, description="maximum number of days that one `recsys-assets run` builds")
