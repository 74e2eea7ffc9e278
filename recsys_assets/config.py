"""recsys.toml, checked: unknown keys are errors that name the key and the allowed ones; secrets never stand in it."""

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recsys_assets.config_drift import DriftSettings
from recsys_assets.config_errors import Location, explain
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target, check_distinct, check_segment, is_slug

DEFAULT_KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")
CONFIG_VARIABLE = "RECSYS_CONFIG"
DEFAULT_CONFIG = "recsys.toml"

Share = Annotated[float, Field(ge=0, le=1)]
Table = dict[str, Any]
EventField: TypeAlias = Literal[
    "ts", "tenant", "surface", "session_id", "item_id", "user_id", "request_id", "rank", "event"
]
ConstantField: TypeAlias = Literal["tenant", "surface", "event"]
_CRON = re.compile(r"[\d*,/-]+( [\dA-Za-z*,/-]+){4}")


@cache
def _known_zones() -> set[str]:
    """Return the names of the IANA list, read from the disk once: it is asked for each target."""
    return available_timezones()


class _Model(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class StorageSettings(_Model):
    """Where everything that is built lives."""

    root: str = Field(default="data/store", description="a folder (relative to the config file), or s3://bucket/prefix")


class RawSettings(_Model):
    """Where raw events and the catalog are found, and how many bad lines a day may have."""

    exposures: str = Field(
        default="data/raw/{day}*.jsonl*",
        description="template with {day}, {tenant}, {surface}; a glob over paths or s3://; or postgresql:table",
    )
    columns: Mapping[EventField, str] = Field(
        default_factory=dict[EventField, str],
        description="the column that holds a field, in Parquet files and tables; else the one of the field's own name",
    )
    constants: Mapping[ConstantField, str] = Field(
        default_factory=dict[ConstantField, str], description="the value of a field that has no column"
    )
    nested: str | None = Field(
        default=None,
        description="of a table: the JSON column whose items[] are the events of a row, with item_id and rank",
    )
    tenants: str | None = Field(
        default=None, description="of a table: the table that resolves a tenant, by external_id or id, to tenant_id"
    )
    statement_timeout_seconds: float = Field(
        default=600, ge=1, description="of a table: how long the database may take for one answer"
    )
    assume_utc: bool = Field(default=False, description="whether times stored without a zone are in UTC")
    catalog: str | None = Field(default=None, description=".jsonl or .csv; needed when content_sim is on")
    max_bad_share: Share = Field(
        default=0.01, description="share of bad lines above which the day fails for the targets concerned"
    )


class PartitionSettings(_Model):
    """Which days exist."""

    start: date = Field(default=date(2026, 1, 1), description="first day")
    end: date | None = Field(
        default=None, description="last day, for data that has ended; none: every day up to yesterday"
    )


class LimitSettings(_Model):
    """What protects memory: over a limit the target fails and the message names the knob."""

    max_events: int = Field(default=100_000_000, ge=1, description="events of one target and window")
    max_distinct_items: int = Field(default=5_000_000, ge=1, description="distinct item ids of one target and window")
    max_users: int = Field(default=10_000_000, ge=1, description="distinct user ids of one target and window")
    max_days: int = Field(default=400, ge=1, description="days that one call of `recsys-assets run` may build")


class ArtifactSettings(BaseModel):
    """Which kinds are built, and one table of parameters per kind (read by the kind itself: `artifacts.kinds`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kinds: tuple[str, ...] = Field(default=DEFAULT_KINDS, min_length=1, description="kinds to build, in any order")

    @property
    def tables(self) -> Mapping[str, Table]:
        """Parameters as written, by kind."""
        return self.model_extra or {}

    @model_validator(mode="after")
    def _only_tables(self) -> "ArtifactSettings":
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"artifacts.{name} is {value!r}: expected a table [artifacts.{name}], or `kinds`")  # noqa: TRY004
        return self


class GateSettings(_Model):
    """The limits that the gates hold a day against."""

    min_events: int = Field(default=1, ge=0, description="fewest events of a target and day")
    min_rows: int = Field(default=1, ge=0, description="fewest rows of an artifact; 0 lets an empty one ship")
    max_left_out_share: Share = Field(
        default=0.1, description="largest share of sessions left out as over-long, or of users as over-active"
    )
    max_duplicate_share: Share = Field(default=0.5, description="largest share of rows dropped as exact duplicates")
    drift: DriftSettings = Field(default=DriftSettings(), description="how far artifacts may lie from the live ones")


class RetentionSettings(_Model):
    """How much of the past is kept beside what is live, held, pinned or announced."""

    keep: int = Field(default=7, ge=1, description="releases kept of a target")
    grace_hours: float = Field(
        default=24, ge=0, description="how long what nothing names is left alone, and then lies in the trash"
    )


class AutomationSettings(_Model):
    """When a target's days are built without anybody asking."""

    nightly: bool = Field(default=False, description="whether the target's schedule runs from the first load on")
    cron: str = Field(default="0 1 * * *", description="when the day before is built: minute hour day month weekday")
    timezone: str = Field(default="UTC", description="the zone of `cron`; days themselves are UTC days")
    watch: bool = Field(default=False, description="whether raw files that arrive or change start the day they hold")
    settled_minutes: float = Field(
        default=10, ge=0, description="raw files count as complete when they have not changed for so long"
    )
    look_back_days: int = Field(
        default=7, ge=1, le=100, description="how many past days are looked at for late or changed raw files"
    )
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="of two waiting runs the one with the higher number starts first"
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if _CRON.fullmatch(value) is None:
            raise ValueError(
                'expected five fields, minute hour day month weekday, like "0 1 * * *" or "*/30 * * * 1-5"'
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _known_zones():
            raise ValueError('expected a zone of the IANA list, like "UTC" or "Europe/Berlin"')
        return value


class FreshnessSettings(_Model):
    """How old is too old."""

    max_age_hours: float = Field(
        default=30, gt=0, description="age, from the end of the last day in it, above which live data is stale"
    )
    max_silence_hours: float = Field(
        default=30, ge=1 / 60, description="time without a build after which the badge in the UI turns red"
    )


class MetricsSettings(_Model):
    """Where Prometheus finds the numbers of the build side."""

    folder: str | None = Field(
        default=None, description="a folder for one .prom file per target, as node_exporter's textfile collector reads"
    )
    push: str | None = Field(default=None, description="a Pushgateway, like http://push.example:9091")
    max_targets: int = Field(
        default=500, ge=1, description="targets with numbers, the first of the file: each costs about 40 time series"
    )


class SignalSettings(_Model):
    """Whether the artifacts are also written to a database, and how its tenants are found."""

    write: bool = Field(default=False, description="whether each day is written to $RECSYS_SIGNALS_DATABASE_URL")
    tenants: str | None = Field(
        default="tenants",
        description="the table that resolves a tenant, by external_id or id; none: its name is the id",
    )
    create_tenants: bool = Field(default=False, description="whether a tenant that is not there is added")
    statement_timeout_seconds: float = Field(default=600, ge=1, description="how long one statement may take")


class TargetSettings(_Model):
    """One target, and what it overrides."""

    tenant: str
    surface: str
    segment: str | None = Field(default=None, description="a label in the artifacts")
    slug: str | None = Field(
        default=None, description="name in Dagster, needed when tenant or surface is not ^[A-Za-z0-9_]+$"
    )
    artifacts: Mapping[str, Table] = Field(
        default_factory=dict[str, Table], description="[targets.artifacts.<kind>] overrides per key"
    )
    gates: Table = Field(default_factory=dict[str, Any], description="[targets.gates] overrides per key")
    retention: Table = Field(default_factory=dict[str, Any], description="[targets.retention] overrides per key")
    automation: Table = Field(default_factory=dict[str, Any], description="[targets.automation] overrides per key")
    freshness: Table = Field(default_factory=dict[str, Any], description="[targets.freshness] overrides per key")

    @property
    def target(self) -> Target:
        """The identity of this target."""
        return Target(self.tenant, self.surface, self.segment or None)

    @property
    def slug_parts(self) -> tuple[str, ...]:
        """How Dagster calls this target: (tenant, surface), or the slug alone."""
        return (self.slug,) if self.slug else (self.tenant, self.surface)

    @model_validator(mode="after")
    def _names(self) -> "TargetSettings":
        check_segment(self.tenant, what="tenant")
        check_segment(self.surface, what="surface")
        for part in self.slug_parts:
            if not is_slug(part):
                raise ValueError(
                    f'Dagster cannot carry {part!r}: add slug = "..." of letters, digits and _ to this target'
                )
        return self


class Settings(_Model):
    """The whole configuration of one store: its sources, its targets, its limits."""

    storage: StorageSettings = StorageSettings()
    raw: RawSettings = RawSettings()
    partitions: PartitionSettings = PartitionSettings()
    limits: LimitSettings = LimitSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    gates: GateSettings = GateSettings()
    retention: RetentionSettings = RetentionSettings()
    automation: AutomationSettings = AutomationSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    metrics: MetricsSettings = MetricsSettings()
    signals: SignalSettings = SignalSettings()
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    owners: tuple[str, ...] = Field(
        default=("team:recommendations",), description='who is asked about the assets: "team:name" or e-mail'
    )

    base: Path = Field(default=Path(), exclude=True, description="folder of the config file; set when it is read")
    digest: str = Field(default="", exclude=True, description="SHA-256 of the file as read")

    @model_validator(mode="after")
    def _distinct_targets(self) -> "Settings":
        seen: dict[tuple[str, str], TargetSettings] = {}
        slugs: dict[str, TargetSettings] = {}
        for row in self.targets:
            if (row.tenant, row.surface) in seen:
                raise ValueError(f"targets: {row.target} stands twice")
            seen[row.tenant, row.surface] = row
            other = slugs.setdefault("__".join(row.slug_parts).lower(), row)
            if other is not row:
                raise ValueError(f"targets {other.target} and {row.target} have the same slug: give one another slug")
        check_distinct((f"{t}/{s}" for t, s in seen), what="targets")
        return self

    def find(self, tenant: str, surface: str) -> TargetSettings:
        """Return the row of a target; `ConfigurationError` lists the known ones."""
        for row in self.targets:
            if (row.tenant, row.surface) == (tenant, surface):
                return row
        known = ", ".join(str(row.target) for row in self.targets)
        raise ConfigurationError(f"no target {tenant}/{surface} in the configuration: known are {known}")

    def gates_for(self, row: TargetSettings) -> GateSettings:
        """Return the gates' limits of one target, its overrides applied."""
        return GateSettings.model_validate(_overridden(self.gates.model_dump(exclude_unset=True), row.gates))

    def retention_for(self, row: TargetSettings) -> RetentionSettings:
        """Return what is kept of one target, its overrides applied."""
        return RetentionSettings.model_validate({**self.retention.model_dump(), **row.retention})

    def automation_for(self, row: TargetSettings) -> AutomationSettings:
        """Return when one target's days are built by themselves, its overrides applied."""
        return AutomationSettings.model_validate({**self.automation.model_dump(), **row.automation})

    def freshness_for(self, row: TargetSettings) -> FreshnessSettings:
        """Return how old one target's data may be, its overrides applied."""
        return FreshnessSettings.model_validate({**self.freshness.model_dump(), **row.freshness})

    def resolve(self, path: str) -> str:
        """Return `path` as it stands for URIs and absolute paths, else relative to the config file's folder."""
        return path if "://" in path else str((self.base / path).absolute())


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the configuration from `path`, else from $RECSYS_CONFIG, else from ./recsys.toml.

    Raises `ConfigurationError` naming file, key, allowed and found; nothing is opened but the file.
    """
    file = Path(path or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}; name a file with --config or ${CONFIG_VARIABLE}"
        ) from error
    return parse_settings(data, name=str(file), base=file.absolute().parent)


def parse_settings(data: bytes, *, name: str, base: Path) -> Settings:
    """Check the bytes of a configuration file called `name`; relative paths in it count from `base`."""
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name} is not TOML in UTF-8: {error}") from error
    for reserved in ("base", "digest"):
        if reserved in table:
            raise ConfigurationError(f"{name}: unknown key {reserved!r}")
    try:
        settings = Settings.model_validate({**table, "base": base, "digest": hashlib.sha256(data).hexdigest()})
    except ValidationError as error:
        raise ConfigurationError(explain([((), error)], name=name, text=data.decode(), root=Settings)) from error
    wrong = list(_wrong_overrides(settings))
    if wrong:
        raise ConfigurationError(explain(wrong, name=name, text=data.decode(), root=Settings)) from wrong[0][1]
    return settings


def _overridden(table: Table, by: Table) -> Table:
    """Return a table with single keys said otherwise, in the tables inside it too."""
    inner = {key: _overridden(table[key], by[key]) for key in table.keys() & by.keys() if isinstance(by[key], dict)}
    return {**table, **by, **inner}


def _wrong_overrides(settings: Settings) -> Iterator[tuple[Location, ValidationError]]:
    """Yield what is wrong in the tables by which single targets override the file's."""
    for index, row in enumerate(settings.targets):
        for name, read in _OVERRIDABLE.items():
            try:
                read(settings, row)
            except ValidationError as error:
                yield ("targets", index, name), error


_OVERRIDABLE: Mapping[str, Callable[[Settings, TargetSettings], object]] = {
    "gates": Settings.gates_for,
    "retention": Settings.retention_for,
    "automation": Settings.automation_for,
    "freshness": Settings.freshness_for,
}
