"""Receivers of webhooks: those of the configuration, and one that the environment names."""

import os
from typing import Final

from recsys_assets.settings.settings import Settings
from recsys_assets.settings.upkeep import WebhookSettings

URL_VARIABLE: Final = "RECSYS_WEBHOOK_URL"
SECRET_VARIABLE: Final = "RECSYS_WEBHOOK_SECRET"  # noqa: S105 - the name of one
STALE, FRESH = "target_stale", "target_fresh"


def receivers(settings: Settings) -> tuple[WebhookSettings, ...]:
    """Return the configured receivers, and the one in $RECSYS_WEBHOOK_URL, which takes what turns stale or fresh."""
    if not os.environ.get(URL_VARIABLE):
        return settings.webhooks
    secret = f"env:{SECRET_VARIABLE}" if os.environ.get(SECRET_VARIABLE) else None
    own = WebhookSettings(name="environment", url=f"env:{URL_VARIABLE}", secret=secret, events=(STALE, FRESH))
    return (*settings.webhooks, own)
