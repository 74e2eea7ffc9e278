"""Webhooks: signed events of targets, each delivered at least once however long its receiver is down.

The queue is the journal, which survives a crash: each receiver has one small document per target with the number of the
last delivered entry. Staleness is not journaled. The document stores the last state that was delivered. The format and
the signature of a message follow Standard Webhooks.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final, TypeAlias
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec

from recsys_assets.errors import ConfigurationError, ConflictError, RecsysAssetsError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.release.document_encoding import decode, encode, find_stored, if_readable
from recsys_assets.release.documents import JournalEntry, Record
from recsys_assets.release.journal import DONE, IMPORT, RECOVERED, REFUSED, TEST, message_of, read_entry, tail
from recsys_assets.release.layout import webhook_key
from recsys_assets.settings.outputs import FRESH, STALE, WebhookSettings, receivers
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore, StoredObject, fan_out
from recsys_assets.upkeep.staleness import Freshness

MAX_CHARACTERS: Final = 2000  # limit of a text in a message
_AT_A_TIME: Final = 100  # entries per target and receiver in one call
_REQUEST_TIMEOUT_SECONDS: Final = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_EVENTS: Final = {TEST: "test_passed", "promote": "ship"}  # events of actions with a different name

Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], str | None]


class DeliveryState(Record, frozen=True):
    """Delivery state of one receiver for one target, with the next retry time."""

    sequence: int  # newest journal entry that was delivered or skipped
    cause: str | None = None  # last delivered cause of staleness, None if fresh
    failures: int = 0
    retry_at: str | None = None
    v: int = 1


def deliver(
    store: ObjectStore,
    settings: Settings,
    rows: Sequence[TargetSettings],
    *,
    now: Callable[[], datetime],
    look_at_freshness: bool = True,
    seconds: float = _REQUEST_TIMEOUT_SECONDS,
) -> tuple[str, ...]:
    """Send undelivered events of these targets to the receivers, and return the faults, which are retried later.

    Events of a target arrive in order. An event that is delivered twice, because a response was lost or two processes
    delivered concurrently, has the same `webhook-id`.
    """
    wanted = receivers(settings.webhooks)
    if not wanted:
        return ()
    post = partial(send, seconds=seconds)

    def deliver_one(target_settings: TargetSettings) -> list[str]:
        delivery = _TargetDelivery(store, settings, target_settings, now, post, look_at_freshness=look_at_freshness)
        return [
            fault for webhook in wanted if _wants(webhook, target_settings) and (fault := delivery.deliver(webhook))
        ]

    return tuple(fault for faults in fan_out(deliver_one, list(rows)) for fault in faults)


def send(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = _REQUEST_TIMEOUT_SECONDS) -> str | None:
    """Post a document. Returns None or the fault, which never contains the URL, because it may be secret."""
    if not url.startswith(("http://", "https://")):
        return "its URL must begin with http:// or https://"
    try:
        request = Request(url, data=body, headers={"Content-Type": "application/json", **headers})  # noqa: S310
        with build_opener(_NoRedirect).open(request, timeout=seconds):
            return None
    except HTTPError as error:
        error.close()  # the error is also the response and holds the connection
        return f"it answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        # Messages of these errors quote the response or the URL, so only their type is reported.
        return type(error).__name__ if isinstance(error, HTTPException | ValueError) else str(error)


class _NoRedirect(HTTPRedirectHandler):
    """Redirect handler that follows nothing: a redirected POST loses its body and leaves the configured host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return None, so that the redirect is the response."""


def sign(secret: str, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of a message for the header `webhook-signature`.

    `secret` is `whsec_` followed by base64, as in Standard Webhooks, or other text whose bytes are the key. Raises
    `ConfigurationError` for invalid base64.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ConfigurationError("the secret of a webhook is not base64 after whsec_") from error
    digest = hmac.digest(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def event_of(entry: JournalEntry) -> str | None:
    """Return the event of a journal entry, or None for an entry that is not delivered."""
    if entry.outcome == REFUSED:
        return "test_failed" if entry.action in {TEST, IMPORT} else "refused"
    if entry.outcome not in {DONE, RECOVERED}:
        return None
    return _EVENTS.get(entry.action, entry.action)


class _TargetDelivery:
    """Delivery of one target to its receivers. Freshness is computed at most once, on demand."""

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        target_settings: TargetSettings,
        now: Callable[[], datetime],
        post: Post,
        *,
        look_at_freshness: bool,
    ) -> None:
        self._store, self._settings, self._target_settings, self._now, self._post = (
            store,
            settings,
            target_settings,
            now,
            post,
        )
        self._look_at_freshness = look_at_freshness

    @cached_property
    def _freshness(self) -> Freshness:
        return freshness(self._store, self._settings, self._target_settings, now=self._now())

    def deliver(self, receiver: WebhookSettings) -> str | None:
        """Send the undelivered events to a receiver. Returns the fault, or None."""
        name = f"webhook {receiver.name}, {self._target_settings.target}"
        try:
            key = webhook_key(self._target_settings.target, receiver.name)
            stored = find_stored(self._store, key)
            before = _decode(stored, key) or self._begin()
            if before.retry_at and self._now() < parse_rfc3339(before.retry_at):
                return None
            after, fault = self._send_all(receiver, before)
            if after != before or stored is None:
                self._keep(key, after, stored)
        except RecsysAssetsError as error:
            return f"{name}: {error}"
        return f"{name}: {fault}" if fault else None

    def _begin(self) -> DeliveryState:
        """Return the state of a new receiver, which starts with the newest entry."""
        newest = tail(self._store, self._target_settings.target)
        return DeliveryState(sequence=newest.sequence - 1 if newest else 0)

    def _send_all(self, receiver: WebhookSettings, state: DeliveryState) -> tuple[DeliveryState, str | None]:
        faults: list[str] = []
        for entry in self._entries(state.sequence):
            event = event_of(entry)
            if event in receiver.events:
                fault = self._send(receiver, f"{entry.sequence}", _of_entry(self._target_settings.target, event, entry))
                if fault and not _is_over(receiver, entry, self._now()):
                    return self._later(state, fault)
                faults += [f"entry {entry.sequence} was dropped: {fault}"] if fault else []
            state = msgspec.structs.replace(state, sequence=entry.sequence, failures=0, retry_at=None)
        if self._look_at_freshness and {STALE, FRESH} & set(receiver.events):
            fresh = self._freshness
            cause = None if fresh.fresh else fresh.cause.value
            if cause != state.cause:
                event = STALE if cause else FRESH
                about = f"{cause} {fresh.data_through} {fresh.wanted_through}"
                message = _of_freshness(self._target_settings.target, event, cause, fresh.why)
                fault = self._send(receiver, about, message) if event in receiver.events else None
                if fault:
                    return self._later(state, fault)
                state = msgspec.structs.replace(state, cause=cause, failures=0, retry_at=None)
        return state, "; ".join(faults) or None

    def _entries(self, after: int) -> Iterator[JournalEntry]:
        newest = tail(self._store, self._target_settings.target)
        last = min(newest.sequence if newest else 0, after + _AT_A_TIME)
        for sequence in range(after + 1, last + 1):
            yield read_entry(self._store, self._target_settings.target, sequence)

    def _send(self, receiver: WebhookSettings, about: str, message: Mapping[str, object]) -> str | None:
        body, at = msgspec.json.encode(message), int(self._now().timestamp())
        named = f"{self._target_settings.target} {message['event']} {about}"
        message_id = f"msg_{hashlib.sha256(named.encode()).hexdigest()[:32]}"
        headers = {"webhook-id": message_id, "webhook-timestamp": str(at)}
        if receiver.secret:
            secret = self._settings.text_at(receiver.secret, what="a webhook")
            headers["webhook-signature"] = sign(secret, message_id, at, body)
        return self._post(self._settings.text_at(receiver.url, what="a webhook"), body, headers)

    def _later(self, state: DeliveryState, fault: str) -> tuple[DeliveryState, str]:
        pause = min(_FIRST_PAUSE * 2 ** min(state.failures, 10), _LONGEST_PAUSE)
        retry_at = rfc3339(self._now() + pause)
        later = msgspec.structs.replace(state, failures=state.failures + 1, retry_at=retry_at)
        return later, f"{fault}; next attempt after {retry_at}"

    def _keep(self, key: str, state: DeliveryState, stored: StoredObject | None) -> None:
        """Store the delivery state, unless another process did concurrently. Duplicates have the same id."""
        try:
            if stored is None:
                self._store.create(key, encode(state))
            else:
                self._store.swap(key, encode(state), expected=stored.etag)
        except ConflictError:
            return


def _decode(stored: StoredObject | None, key: str) -> DeliveryState | None:
    """Return the stored delivery state, or None if missing or unreadable, which restarts at the newest entry."""
    return if_readable(lambda: decode(stored.data, DeliveryState, name=key)) if stored else None


def _wants(receiver: WebhookSettings, target_settings: TargetSettings) -> bool:
    return not receiver.targets or str(target_settings.target) in receiver.targets


def _is_over(receiver: WebhookSettings, entry: JournalEntry, now: datetime) -> bool:
    at = parse_rfc3339(entry.at) if entry.at else now
    return now - at > timedelta(hours=receiver.give_up_hours)


def _of_entry(target: Target, event: str | None, entry: JournalEntry) -> dict[str, Any]:
    message = message_of(entry)
    return {
        "event": event,
        "text": f"{target} {event}: {message} (by {entry.actor}: {entry.reason})"[:MAX_CHARACTERS],
        "target": str(target),
        "at": entry.at,
        "actor": entry.actor,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
        "sequence": entry.sequence,
        "run_id": entry.run_id,
        "details": entry.details,
    }


def _of_freshness(target: Target, event: str, cause: str | None, message: str) -> dict[str, Any]:
    text = f"{target} {'is stale' if cause else 'is fresh again'}: {message}"[:MAX_CHARACTERS]
    return {"event": event, "text": text, "target": str(target), "cause": cause, "why": message[:MAX_CHARACTERS]}
