"""Settings of the read API: `[api]`, with the hosts that it answers for and the tokens that it asks for."""

import re
from typing import Final, Literal, TypeAlias

from pydantic import Field, field_validator

from recsys_assets.settings.model import ClosedModel

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")

Scope: TypeAlias = Literal["read", "write", "operate"]


class TokenSettings(ClosedModel):
    """One token, known by its hash alone: whoever reads the configuration cannot use it."""

    name: str = Field(min_length=1, max_length=100, description="whose token it is, as logs name it")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the token in hexadecimal: see `recsys-assets token`"
    )
    scopes: tuple[Scope, ...] = Field(
        default=("read",),
        min_length=1,
        description="what it may do: `read`; `write`, which keeps artifact trees; `operate`, which moves what is live",
    )


class ApiSettings(ClosedModel):
    """Who may ask the read API, and under which names."""

    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="where people reach it, like https://recsys.example: assets in Dagster link to their pages",
    )
    dagster_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s?#]+$",
        description="where people reach Dagster's UI, like https://dagster.example: pages link to the runs in it",
    )
    images: tuple[str, ...] = Field(
        default=(),
        description='origins of which pages show the pictures that the catalog names, like "https://images.example"; '
        "none: no picture",
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description='names in the Host header that are answered, like "recsys.example" or "*.example"; none: on a '
        "loopback address localhost alone, elsewhere any",
    )
    tokens: tuple[TokenSettings, ...] = Field(
        default=(),
        description="tokens, one of which every request but those for health must bring; none: all "
        "may read, nobody may write",
    )
    plain_http: bool = Field(
        default=False,
        description="whether tokens are accepted without TLS beyond this machine: behind a proxy with TLS",
    )

    @field_validator("hosts")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or "*" in host.removeprefix("*.") or "/" in host or ":" in host:
                raise ValueError('expected names without scheme and port, like "recsys.example" or "*.example"')
        return value

    @field_validator("images")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if _ORIGIN.fullmatch(origin) is None:
                raise ValueError('expected origins without a path, like "https://images.example"')
        return value

    @field_validator("tokens")
    @classmethod
    def _distinct(cls, value: tuple[TokenSettings, ...]) -> tuple[TokenSettings, ...]:
        if len({token.name for token in value}) < len(value) or len({token.sha256 for token in value}) < len(value):
            raise ValueError("two tokens have the same name or hash: give each its own")
        return value
