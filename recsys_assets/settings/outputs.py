"""Settings of what receives or reads releases: `[signals]`, `[sinks]`, `[webhooks]` and `[api]`."""

import os
import re
from typing import Final, Literal, TypeAlias, get_args

from pydantic import Field, field_validator, model_validator

from recsys_assets.settings.model import MAX_HOURS, MAX_SECONDS, ClosedModel

_DEFAULT_KEEP = {"redis": 1, "dynamodb": 7}
WEBHOOK_URL_VARIABLE: Final = "RECSYS_WEBHOOK_URL"
WEBHOOK_SECRET_VARIABLE: Final = "RECSYS_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not a secret
STALE, FRESH = "target_stale", "target_fresh"

WebhookEvent: TypeAlias = Literal[
    "import",
    "test_passed",
    "test_failed",
    "ship",
    "refused",
    "roll_back",
    "hold",
    "release_hold",
    "pin",
    "unpin",
    "mark_bad",
    "unmark_bad",
    "tag",
    "untag",
    "start_rollout",
    "advance_rollout",
    "abort_rollout",
    "restore_pointer",
    "retire",
    "target_stale",
    "target_fresh",
]
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")

Scope: TypeAlias = Literal["read", "write", "operate"]


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


class WebhookSettings(ClosedModel):
    """One receiver of HTTP requests about events of targets."""

    name: str = Field(pattern="^[a-z0-9_-]{1,50}$", description="name of the receiver in messages and in the store")
    url: str = Field(
        pattern="^(env:.+|file:.+|https?://.+)$",
        description='URL of the receiver: https://..., or "env:NAME" or "file:PATH" if it is secret',
    )
    secret: str | None = Field(
        default=None,
        pattern="^(env|file):.+$",
        description='key that signs the requests, as "env:NAME" or "file:PATH"; unset: they are not signed',
    )
    events: tuple[WebhookEvent, ...] = Field(
        default=get_args(WebhookEvent), min_length=1, description="events that are sent; default: all"
    )
    targets: tuple[str, ...] = Field(
        default=(), description='targets whose events are sent, such as ["shop/home"]; empty: every target'
    )
    give_up_hours: float = Field(
        default=72, ge=0, le=MAX_HOURS, description="age in hours after which an undelivered event is dropped"
    )


def receivers(configured: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
    """Return the configured receivers and, if $RECSYS_WEBHOOK_URL is set, one for stale and fresh targets."""
    if not os.environ.get(WEBHOOK_URL_VARIABLE):
        return configured
    secret = f"env:{WEBHOOK_SECRET_VARIABLE}" if os.environ.get(WEBHOOK_SECRET_VARIABLE) else None
    own = WebhookSettings(name="environment", url=f"env:{WEBHOOK_URL_VARIABLE}", secret=secret, events=(STALE, FRESH))
    return (*configured, own)


class TokenSettings(ClosedModel):
    """One API token, stored as its hash only: reading the configuration does not reveal the token."""

    name: str = Field(min_length=1, max_length=100, description="owner of the token, as shown in logs")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the token in hexadecimal: see `recsys-assets token`"
    )
    scopes: tuple[Scope, ...] = Field(
        default=("read",),
        min_length=1,
        description="permissions: `read`; `write` changes artifact trees; `operate` changes the live release",
    )


class ApiSettings(ClosedModel):
    """Access to the API: public address, accepted hosts, tokens, and the origins of pictures."""

    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="public URL of the API, such as https://recsys.example; assets in Dagster link to its pages",
    )
    dagster_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="public URL of Dagster's UI, such as https://dagster.example; pages link to its runs",
    )
    images: tuple[str, ...] = Field(
        default=(),
        description='origins from which pages may load the pictures of the catalog, such as "https://images.example"; '
        "empty: no pictures are shown",
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description='accepted names in the Host header, such as "recsys.example" or "*.example"; empty: only localhost '
        "on a loopback address, any name elsewhere",
    )
    tokens: tuple[TokenSettings, ...] = Field(
        default=(),
        description="accepted tokens; every request except health checks must present one; empty: everyone may read, "
        "writes are refused",
    )
    plain_http: bool = Field(
        default=False,
        description="accept tokens without TLS from other machines, for use behind a proxy that terminates TLS",
    )

    @field_validator("hosts")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or "*" in host.removeprefix("*.") or "/" in host or ":" in host:
                raise ValueError('expected host names without scheme and port, such as "recsys.example" or "*.example"')
        return value

    @field_validator("images")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError('expected origins without a path, such as "https://images.example"')
        return value

    @field_validator("tokens")
    @classmethod
    def _distinct(cls, value: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        if len({token.name for token in value}) < len(value) or len({token.sha256 for token in value}) < len(value):
            raise ValueError("two tokens have the same name or hash: names and hashes must be unique")
        return value
