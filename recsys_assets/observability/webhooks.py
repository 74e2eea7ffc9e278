"""Webhooks: signed events of targets, each delivered at least once however long its receiver is down.

The queue is the journal, which survives a crash: a receiver has one small document for each target, with the number of
the entry that it took last. Whether live data is stale stands in no journal; there the document keeps what the receiver
knows. The form of a message and its signature are those of Standard Webhooks.
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
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.settings.webhooks import FRESH, STALE, WebhookSettings, receivers
from recsys_assets.storage.store import ObjectStore, StoredObject, fan_out
from recsys_assets.upkeep.staleness import Freshness

MAX_CHARACTERS: Final = 2000  # of a message
_AT_A_TIME: Final = 100  # entries of one target for one receiver in one call
_SECONDS: Final = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_EVENTS: Final = {TEST: "test_passed", "promote": "ship"}  # of actions that are not called like their event

Post: TypeAlias = Callable[[str, bytes, Mapping[str, str]], str | None]


class Delivered(Record, frozen=True):
    """What one receiver took of one target, and when it is asked again if it took the last thing not."""

    sequence: int  # of the newest journal entry that it took, or does not want
    cause: str | None = None  # why it knows live data to be stale; None: it believes them fresh
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
    seconds: float = _SECONDS,
) -> tuple[str, ...]:
    """Send what receivers have not taken yet of these targets, and return what went wrong, which is tried again later.

    Order is kept for each target and receiver. What a receiver took twice, because an answer was lost or two processes
    delivered at once, has the same `webhook-id`.
    """
    wanted = receivers(settings.webhooks)
    if not wanted:
        return ()
    post = partial(send, seconds=seconds)

    def deliver_one(row: TargetSettings) -> list[str]:
        look = _Look(store, settings, row, now, post, look_at_freshness=look_at_freshness)
        return [fault for one in wanted if _wants(one, row) and (fault := look.deliver(one))]

    return tuple(fault for faults in fan_out(deliver_one, list(rows)) for fault in faults)


def send(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = _SECONDS) -> str | None:
    """Post a document, and return why it was not taken, or None; the address, often a secret, is never named."""
    if not url.startswith(("http://", "https://")):
        return "its address must begin with http:// or https://"
    try:
        request = Request(url, data=body, headers={"Content-Type": "application/json", **headers})  # noqa: S310
        with build_opener(_NoRedirect).open(request, timeout=seconds):
            return None
    except HTTPError as error:
        error.close()  # it is the answer, too, and holds the connection
        return f"it answered {error.code}"
    except (OSError, HTTPException, ValueError) as error:
        # An answer that is no HTTP, and an address that is no URL, are reported by quoting them.
        return type(error).__name__ if isinstance(error, HTTPException | ValueError) else str(error)


class _NoRedirect(HTTPRedirectHandler):
    """Follows nothing: a redirected POST would lose its body, and lead where nobody configured."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return None: the redirect is the answer."""


def sign(secret: str, message_id: str, at: int, body: bytes) -> str:
    """Return the signature of a message as `webhook-signature` carries it.

    `secret` is `whsec_` and base64, as Standard Webhooks has it, or any other text, whose bytes are the key.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error as error:
            raise ConfigurationError("the secret of a webhook is not base64 behind whsec_") from error
    digest = hmac.digest(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def event_of(entry: JournalEntry) -> str | None:
    """Return which event a journal entry is, or None for what is no news to anybody."""
    if entry.outcome == REFUSED:
        return "test_failed" if entry.action in {TEST, IMPORT} else "refused"
    if entry.outcome not in {DONE, RECOVERED}:
        return None
    return _EVENTS.get(entry.action, entry.action)


class _Look:
    """One target, looked at for every receiver: how fresh it is is found out once, and only if somebody wants it."""

    def __init__(
        self,
        store: ObjectStore,
        settings: Settings,
        row: TargetSettings,
        now: Callable[[], datetime],
        post: Post,
        *,
        look_at_freshness: bool,
    ) -> None:
        self._store, self._settings, self._row, self._now, self._post = store, settings, row, now, post
        self._look_at_freshness = look_at_freshness

    @cached_property
    def _freshness(self) -> Freshness:
        return freshness(self._store, self._settings, self._row, now=self._now())

    def deliver(self, receiver: WebhookSettings) -> str | None:
        """Send what the receiver has not taken yet; return why it did not take something."""
        name = f"webhook {receiver.name}, {self._row.target}"
        try:
            key = webhook_key(self._row.target, receiver.name)
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

    def _begin(self) -> Delivered:
        """Return where a new receiver begins: with the newest entry, so that it hears of what was just done."""
        newest = tail(self._store, self._row.target)
        return Delivered(sequence=newest.sequence - 1 if newest else 0)

    def _send_all(self, receiver: WebhookSettings, state: Delivered) -> tuple[Delivered, str | None]:
        faults: list[str] = []
        for entry in self._entries(state.sequence):
            event = event_of(entry)
            if event in receiver.events:
                fault = self._send(receiver, f"{entry.sequence}", _of_entry(self._row.target, event, entry))
                if fault and not _is_over(receiver, entry, self._now()):
                    return self._later(state, fault)
                faults += [f"entry {entry.sequence} was given up: {fault}"] if fault else []
            state = msgspec.structs.replace(state, sequence=entry.sequence, failures=0, retry_at=None)
        if self._look_at_freshness and {STALE, FRESH} & set(receiver.events):
            found = self._freshness
            cause = None if found.fresh else found.cause.value
            if cause != state.cause:
                event = STALE if cause else FRESH
                about = f"{cause} {found.data_through} {found.wanted_through}"
                message = _of_freshness(self._row.target, event, cause, found.why)
                fault = self._send(receiver, about, message) if event in receiver.events else None
                if fault:
                    return self._later(state, fault)
                state = msgspec.structs.replace(state, cause=cause, failures=0, retry_at=None)
        return state, "; ".join(faults) or None

    def _entries(self, after: int) -> Iterator[JournalEntry]:
        newest = tail(self._store, self._row.target)
        last = min(newest.sequence if newest else 0, after + _AT_A_TIME)
        for sequence in range(after + 1, last + 1):
            yield read_entry(self._store, self._row.target, sequence)

    def _send(self, receiver: WebhookSettings, about: str, message: Mapping[str, object]) -> str | None:
        body, at = msgspec.json.encode(message), int(self._now().timestamp())
        named = f"{self._row.target} {message['event']} {about}"
        message_id = f"msg_{hashlib.sha256(named.encode()).hexdigest()[:32]}"
        headers = {"webhook-id": message_id, "webhook-timestamp": str(at)}
        if receiver.secret:
            secret = self._settings.text_at(receiver.secret, what="a webhook")
            headers["webhook-signature"] = sign(secret, message_id, at, body)
        return self._post(self._settings.text_at(receiver.url, what="a webhook"), body, headers)

    def _later(self, state: Delivered, fault: str) -> tuple[Delivered, str]:
        pause = min(_FIRST_PAUSE * 2 ** min(state.failures, 10), _LONGEST_PAUSE)
        retry_at = rfc3339(self._now() + pause)
        later = msgspec.structs.replace(state, failures=state.failures + 1, retry_at=retry_at)
        return later, f"{fault}; it is asked again from {retry_at} on"

    def _keep(self, key: str, state: Delivered, stored: StoredObject | None) -> None:
        """Store how far it is; another process that delivered meanwhile has stored that, and what both sent is one."""
        try:
            if stored is None:
                self._store.create(key, encode(state))
            else:
                self._store.swap(key, encode(state), expected=stored.etag)
        except ConflictError:
            return


def _decode(stored: StoredObject | None, key: str) -> Delivered | None:
    """Return how far a receiver is; one that cannot be read begins again, with the newest entry."""
    return if_readable(lambda: decode(stored.data, Delivered, name=key)) if stored else None


def _wants(receiver: WebhookSettings, row: TargetSettings) -> bool:
    return not receiver.targets or str(row.target) in receiver.targets


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


def _of_freshness(target: Target, event: str, cause: str | None, why: str) -> dict[str, Any]:
    text = f"{target} {'is stale' if cause else 'is fresh again'}: {why}"[:MAX_CHARACTERS]
    return {"event": event, "text": text, "target": str(target), "cause": cause, "why": why[:MAX_CHARACTERS]}
