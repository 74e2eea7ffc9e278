"""Settings of databases that receive artifacts in addition to the store: `[signals]` and `[sinks]`."""

from typing import Literal

from pydantic import Field, model_validator

from recsys_assets.settings.model import MAX_HOURS, MAX_SECONDS, ClosedModel

_DEFAULT_KEEP = {"redis": 1, "dynamodb": 7}


class SignalSettings(ClosedModel):
    """Writing of artifacts to a PostgreSQL database, and the lookup of its tenants."""

    write: bool = Field(default=False, description="write each day to $RECSYS_SIGNALS_DATABASE_URL")
    tenants: str | None = Field(
        default="tenants",
        description="table that resolves a tenant, by external_id or id; unset: the tenant's name is its id",
    )
    create_tenants: bool = Field(default=False, description="add a tenant that is missing in that table")
    statement_timeout_seconds: float = Field(default=600, ge=1, le=MAX_SECONDS, description="timeout of one statement")


class SinkSettings(ClosedModel):
    """Database that follows the live release, for services that look up rows by key."""

    type: Literal["redis", "dynamodb"] = Field(
        description="`redis` (also Valkey) or `dynamodb`; each needs the extra of its name"
    )
    url: str | None = Field(
        default=None,
        pattern="^(env:.+|file:.+|rediss?://.+|unix://.+)$",
        description='redis only: URL, as "env:NAME" or "file:PATH"; without a password also redis://host:port/0',
    )
    cluster: bool = Field(default=False, description="redis only: the server is a cluster")
    table: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_.-]{3,255}$",
        description="dynamodb only: name of the table, which must exist",
    )
    region: str | None = Field(default=None, description="dynamodb only: region; unset: as configured for AWS tools")
    prefix: str = Field(default="rank", pattern="^[A-Za-z0-9_-]{1,50}$", description="prefix of every key")
    kinds: tuple[str, ...] = Field(default=(), description="kinds that are written; empty: every kind that has rows")
    targets: tuple[str, ...] = Field(
        default=(), description='targets that are written, such as ["shop/home"]; empty: every target'
    )
    keep: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="versions kept per kind, including the served one; default: 1 in redis, 7 in dynamodb",
    )
    grace_hours: float = Field(
        default=24, ge=0, le=MAX_HOURS, description="minimum hours a version is kept after it was replaced"
    )

    @property
    def kept(self) -> int:
        """Number of versions kept per kind."""
        return _DEFAULT_KEEP[self.type] if self.keep is None else self.keep

    @model_validator(mode="after")
    def _addressed(self) -> "SinkSettings":
        if (self.url is None) is (self.type == "redis") or (self.table is None) is (self.type == "dynamodb"):
            raise ValueError("expected only url for type redis, and only table for type dynamodb")
        if self.url and not self.url.startswith(("env:", "file:")) and "@" in self.url:
            raise ValueError('url contains a user or a password: put it into a variable and refer to it as "env:NAME"')
        if self.type == "dynamodb" and self.cluster:
            raise ValueError("cluster applies to type redis only")
        return self
