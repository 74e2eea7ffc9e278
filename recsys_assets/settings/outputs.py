"""Settings of where artifacts go beside the store, for services that read a database: `[signals]` and `[sinks]`."""

from typing import Literal

from pydantic import Field, model_validator

from recsys_assets.settings.model import MAX_HOURS, MAX_SECONDS, ClosedModel

_KEPT = {"redis": 1, "dynamodb": 7}


class SignalSettings(ClosedModel):
    """Whether the artifacts are also written to a database, and how its tenants are found."""

    write: bool = Field(default=False, description="whether each day is written to $RECSYS_SIGNALS_DATABASE_URL")
    tenants: str | None = Field(
        default="tenants",
        description="the table that resolves a tenant, by external_id or id; none: its name is the id",
    )
    create_tenants: bool = Field(default=False, description="whether a tenant that is not there is added")
    statement_timeout_seconds: float = Field(
        default=600, ge=1, le=MAX_SECONDS, description="how long one statement may take"
    )


class SinkSettings(ClosedModel):
    """A database that follows the pointer, for services that look rows up by key."""

    type: Literal["redis", "dynamodb"] = Field(description="`redis` (also Valkey) or `dynamodb`; each is an extra")
    url: str | None = Field(
        default=None,
        pattern="^(env:.+|file:.+|rediss?://.+|unix://.+)$",
        description='of redis: in "env:NAME" or "file:PATH", or redis://host:port/0 where it holds no password',
    )
    cluster: bool = Field(default=False, description="of redis: whether the server is a cluster")
    table: str | None = Field(
        default=None, pattern="^[A-Za-z0-9_.-]{3,255}$", description="of dynamodb: its table, which must be there"
    )
    region: str | None = Field(default=None, description="of dynamodb: the region; none: as AWS's tools find it")
    prefix: str = Field(default="rank", pattern="^[A-Za-z0-9_-]{1,50}$", description="what every key begins with")
    kinds: tuple[str, ...] = Field(default=(), description="kinds that are written; none named: all that have rows")
    targets: tuple[str, ...] = Field(default=(), description='like ["shop/home"]; none: every target')
    keep: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="versions kept of a kind, the one that is served included; else 1 in redis, 7 in dynamodb",
    )
    grace_hours: float = Field(
        default=24, ge=0, le=MAX_HOURS, description="how long a version is kept at least that is served no more"
    )

    @property
    def kept(self) -> int:
        """Versions kept of a kind."""
        return _KEPT[self.type] if self.keep is None else self.keep

    @model_validator(mode="after")
    def _addressed(self) -> "SinkSettings":
        if (self.url is None) is (self.type == "redis") or (self.table is None) is (self.type == "dynamodb"):
            raise ValueError("expected url with type redis, and table with type dynamodb, each without the other")
        if self.url and not self.url.startswith(("env:", "file:")) and "@" in self.url:
            raise ValueError('url holds a user or a password: put it into a variable, and name that by "env:NAME"')
        if self.type == "dynamodb" and self.cluster:
            raise ValueError("cluster is of type redis")
        return self
