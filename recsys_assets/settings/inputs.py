"""Inputs and the store: `[storage]`, `[raw]`, `[partitions]`, `[limits]`."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Literal, TypeAlias

from pydantic import Field, field_validator

from recsys_assets.settings.model import MAX_SECONDS, ClosedModel, Share

EventField: TypeAlias = Literal[
    "ts", "tenant", "surface", "session_id", "item_id", "user_id", "request_id", "rank", "event"
]
ConstantField: TypeAlias = Literal["tenant", "surface", "event"]

# A folder, or a bucket and its prefix, as it stands in URIs: no empty segment, none of dots, no ? # %.
_ROOT = re.compile(r"(file://(?=/)|(?:s3|gs|az):/(?=/)|)(/(?!\.{1,2}(/|$))[^/?#%\x00-\x1f\x7f]+)+/?")
TABLES = ("postgresql:", "delta:", "iceberg:", "duckdb:", "adbc:")


# What ends the name of a driver's option that holds a secret.
_SECRET = re.compile(
    r"(password|passcode|passphrase|secret|token|credentials?|api_?key|private_?key\w*|pkcs8_\w+)$", re.IGNORECASE
)
_PLACES = ("env:", "file:")


class StorageSettings(ClosedModel):
    """Where everything that is built lives."""

    root: str = Field(
        default="data/store",
        description="a folder (relative to the config file), or s3://, gs:// or az://, bucket and prefix",
    )
    public_root: str | None = Field(
        default=None,
        description="the root as services see it, where they see another mount or bucket: /folder, or like root",
    )
    must_exist: bool = Field(
        default=False, description="refuse a root where no store was begun (`recsys-assets init`): a missing mount"
    )

    @field_validator("public_root")
    @classmethod
    def _is_a_root(cls, root: str | None) -> str | None:
        if root is not None and not _ROOT.fullmatch(root):
            raise ValueError(
                "expected a path like /mnt/store, or s3://, gs:// or az:// and bucket, without . and .. in it"
            )
        return root


class SigningSettings(ClosedModel):
    """Signatures over pointers, for readers that trust keys and no store; off without a key."""

    key: str | None = Field(
        default=None, description='private ed25519 key in PEM that signs, in "env:NAME" or "file:PATH"; none: off'
    )
    other_key: str | None = Field(default=None, description="a second one that signs too, while keys are changed")
    valid_days: float = Field(
        default=14, gt=0, le=3660, description="how long a signature holds; `recsys-assets sign` renews it"
    )

    @field_validator("key", "other_key")
    @classmethod
    def _names_a_place(cls, place: str | None) -> str | None:
        return _place(place)

    @property
    def places(self) -> tuple[str, ...]:
        """Where the keys stand that sign."""
        return tuple(place for place in (self.key, self.other_key) if place is not None)


def _place(place: str | None) -> str | None:
    if place is not None and not re.fullmatch(r"(env|file):.+", place):
        raise ValueError('expected "env:NAME" or "file:PATH": the key itself never stands here')
    return place


class AdbcSettings(ClosedModel):
    """How the warehouse is reached that `raw.exposures = "adbc:SELECT ..."` asks."""

    driver: str | None = Field(
        default=None,
        pattern="^[a-z0-9_]+$",
        description="snowflake, bigquery, or any other for which adbc_driver_NAME is installed",
    )
    options: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='the options that its driver connects by, as uri; secrets in "env:NAME" or "file:PATH"',
    )

    @field_validator("options")
    @classmethod
    def _holds_no_secret(cls, options: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in options.items():
            if not value.startswith(_PLACES) and (_SECRET.search(name) or "@" in value):
                raise ValueError(
                    f'{name} may be a secret: put it elsewhere, and name that by "env:NAME" or "file:PATH"'
                )
        return options


class RawSettings(ClosedModel):
    """Where raw events and the catalog are found, and how many bad lines a day may have."""

    exposures: str = Field(
        default="data/raw/{day}*.jsonl*",
        description="template with {day}, {tenant}, {surface}: a glob over paths or s3://; or a table, "
        "as postgresql:name, delta:path, iceberg:name; or duckdb:SELECT ..., adbc:SELECT ...",
    )
    columns: Mapping[EventField, str] = Field(
        default_factory=dict[EventField, str],
        description="the column that holds a field, in Parquet files and tables; else the one of the field's own name",
    )
    constants: Mapping[ConstantField, str] = Field(
        default_factory=dict[ConstantField, str], description="the value of a field that has no column"
    )
    day_column: str | None = Field(
        default=None,
        description="of a Delta or Iceberg table: the column of UTC days by which one is chosen, beside ts",
    )
    nested: str | None = Field(
        default=None,
        description="of a table: the JSON column whose items[] are the events of a row, with item_id and rank",
    )
    tenants: str | None = Field(
        default=None, description="of a table: the table that resolves a tenant, by external_id or id, to tenant_id"
    )
    statement_timeout_seconds: float = Field(
        default=600,
        ge=1,
        le=MAX_SECONDS,
        description="of a table or query: how long one answer may take",
    )
    adbc: AdbcSettings = AdbcSettings()
    session_gap_minutes: float | None = Field(
        default=None,
        gt=0,
        le=1440,
        description="events may lack session_id: a user's next event after a longer gap begins a new session; "
        "none: such events are bad lines",
    )
    assume_utc: bool = Field(default=False, description="whether times stored without a zone are in UTC")
    user_key: str | None = Field(
        default=None,
        description='hash user ids on their way in, by the key in "env:NAME" or "file:PATH"; none: they are kept',
    )
    catalog: str | None = Field(default=None, description=".jsonl or .csv; without it releases have no content_sim")
    catalog_encoding: str = Field(
        default="utf-8", description='encoding of the catalog, as "windows-1252"; lines end with LF in it'
    )
    catalog_delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="what separates the cells of a catalog in CSV"
    )
    max_bad_catalog_share: Share = Field(
        default=0.01, description="share of bad rows of the catalog above which what is built from it is refused"
    )
    rebuild_without_missing_files: bool = Field(
        default=False,
        description="rebuild a day although files are gone that it was built from: it gets smaller",
    )
    spill_days: int = Field(
        default=0,
        ge=0,
        le=2,
        description="how many neighbouring days' files are read for a day too: for files cut by a local day",
    )
    require_success: str | None = Field(
        default=None, description='name of a mark, as "_SUCCESS", without which files of a folder do not count'
    )
    max_out_of_window_share: Share = Field(
        default=0.05, description="share of a target's events that belong to other days, above which the day fails"
    )
    max_lost_share: Share = Field(
        default=0.05,
        description="share of a stored day's distinct events above whose loss its rebuild is refused; 1 accepts any",
    )
    max_bad_share: Share = Field(
        default=0.01, description="share of bad lines above which the day fails for the targets concerned"
    )

    @property
    def table_form(self) -> str | None:
        """The form of the table that events are read from: postgresql, delta, iceberg, duckdb, adbc; None: files."""
        return next((scheme.rstrip(":") for scheme in TABLES if self.exposures.startswith(scheme)), None)

    @field_validator("user_key")
    @classmethod
    def _names_a_place(cls, place: str | None) -> str | None:
        return _place(place)

    @field_validator("catalog_encoding")
    @classmethod
    def _keeps_ascii(cls, name: str) -> str:
        ascii_bytes = bytes(range(128))
        try:
            keeps = ascii_bytes.decode(name) == ascii_bytes.decode("ascii")
        except (LookupError, UnicodeError):
            keeps = False
        if not keeps:
            raise ValueError('expected an encoding that has ASCII in it, as "utf-8", "windows-1252" or "shift_jis"')
        return name

    @field_validator("catalog_delimiter")
    @classmethod
    def _separates(cls, delimiter: str) -> str:
        if delimiter in '"\r\n' or not delimiter.isascii():
            raise ValueError('expected one ASCII character that is no quote and no line end, as ";" or "\\t"')
        return delimiter


class PartitionSettings(ClosedModel):
    """Which days exist."""

    start: date = Field(default=date(2026, 1, 1), description="first day")
    end: date | None = Field(
        default=None, description="last day, for data that has ended; none: every day up to yesterday"
    )


class LimitSettings(ClosedModel):
    """What protects memory: over a limit the target fails and the message names the setting."""

    max_events: int = Field(default=100_000_000, ge=1, description="events of one target and window")
    max_distinct_items: int = Field(default=5_000_000, ge=1, description="distinct item ids of one target and window")
    max_sessions: int = Field(default=50_000_000, ge=1, description="distinct session ids of one target and window")
    max_users: int = Field(default=10_000_000, ge=1, description="distinct user ids of one target and window")
    max_days: int = Field(default=400, ge=1, description="days that one call of `recsys-assets run` may build")
