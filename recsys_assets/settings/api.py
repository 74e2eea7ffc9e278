"""Settings of the API: `[api]`, with the accepted host names and the bearer tokens."""

import re
from typing import Final, Literal, TypeAlias

from pydantic import Field, field_validator

from recsys_assets.settings.model import ClosedModel

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")

Scope: TypeAlias = Literal["read", "write", "operate"]


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
