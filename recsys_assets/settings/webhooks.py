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
    """Who is sent an HTTP request about what happens to targets."""

    name: str = Field(pattern="^[a-z0-9_-]{1,50}$", description="what messages and the store call it")
    url: str = Field(
        pattern="^(env:.+|file:.+|https?://.+)$",
        description='where to, in "env:NAME" or "file:PATH" if that is a secret, or https://...',
    )
    secret: str | None = Field(
        default=None,
        pattern="^(env|file):.+$",
        description='what messages are signed with, in "env:NAME" or "file:PATH"; none: they are not signed',
    )
    events: tuple[WebhookEvent, ...] = Field(
        default=get_args(WebhookEvent), min_length=1, description="what it is sent; none named: everything"
    )
    targets: tuple[str, ...] = Field(default=(), description='like ["shop/home"]; none: every target')
    give_up_hours: float = Field(
        default=72, ge=0, le=MAX_HOURS, description="an event that is older and not taken keeps later ones back no more"
    )


def receivers(configured: tuple[WebhookSettings, ...]) -> tuple[WebhookSettings, ...]:
    """Return the configured receivers and, if $RECSYS_WEBHOOK_URL is set, one for stale and fresh targets."""
    if not os.environ.get(URL_VARIABLE):
        return configured
    secret = f"env:{SECRET_VARIABLE}" if os.environ.get(SECRET_VARIABLE) else None
    own = WebhookSettings(name="environment", url=f"env:{URL_VARIABLE}", secret=secret, events=(STALE, FRESH))
    return (*configured, own)
