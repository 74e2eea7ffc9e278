"""Settings of webhooks: the events, a receiver's table, and the receiver that environment variables add."""

import os
from typing import Final, Literal, TypeAlias, get_args

from pydantic import Field

from recsys_assets.settings.model import MAX_HOURS, ClosedModel

URL_VARIABLE: Final = "RECSYS_WEBHOOK_URL"
SECRET_VARIABLE: Final = "RECSYS_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not a secret
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
    if not os.environ.get(URL_VARIABLE):
        return configured
    secret = f"env:{SECRET_VARIABLE}" if os.environ.get(SECRET_VARIABLE) else None
    own = WebhookSettings(name="environment", url=f"env:{URL_VARIABLE}", secret=secret, events=(STALE, FRESH))
    return (*configured, own)
