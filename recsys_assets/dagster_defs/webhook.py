"""Webhook: one JSON document an alert, sent to the address that the environment names."""

import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import dagster as dg

WEBHOOK = "RECSYS_WEBHOOK_URL"
MAX_CHARACTERS = 2000  # characters of an error
_SECONDS = 10


def is_wanted() -> bool:
    """Return whether a webhook is configured."""
    return bool(os.environ.get(WEBHOOK))


def post(document: Mapping[str, object]) -> None:
    """Send one JSON document to the webhook that $RECSYS_WEBHOOK_URL names; `text` in it is what chats show.

    Raises `dg.Failure` when nobody takes it, so that the tick is red and says why.
    """
    url = os.environ.get(WEBHOOK, "")
    if not url.startswith(("http://", "https://")):
        raise dg.Failure(f"{WEBHOOK} must begin with http:// or https://")
    try:
        request = Request(url, data=json.dumps(document).encode(), headers={"Content-Type": "application/json"})  # noqa: S310
        with urlopen(request, timeout=_SECONDS):  # noqa: S310 - the scheme is checked above
            return
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the answer, too, and holds the connection
        # The address is a secret of many services; an answer that is no HTTP, and an address that is no URL, are
        # reported by quoting them, so the cause is left out as well.
        message = type(error).__name__ if isinstance(error, HTTPException | ValueError) else error
        raise dg.Failure(f"the webhook of {WEBHOOK} does not take the alert: {message}") from None
