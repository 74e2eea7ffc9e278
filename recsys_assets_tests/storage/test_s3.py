"""An S3 store when answers get lost, wrong or late; the failures are made below the SDK."""

import itertools
from collections import Counter

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from moto import mock_aws
from moto.core.models import botocore_stubber

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from recsys_assets.storage.proof import probe
from recsys_assets.storage.s3 import S3Store

BUCKET = "bucket"


class Wire:
    """The line to the server: what is sent is counted, and answers go wrong on request."""

    def __init__(self, client):
        self.client = client
        self.sent = Counter()
        self.pauses = []
        self._faults = []
        self.client.meta.events.register("before-send.s3", self._send)

    def close(self):
        self.client.meta.events.unregister("before-send.s3", self._send)

    def store(self, prefix):
        return S3Store(self.client, bucket=BUCKET, prefix=prefix, pause=self.pauses.append)

    def fail(self, operation, *faults):
        """Let the next calls of an operation go wrong, one fault each."""
        self._faults += [(operation, fault) for fault in faults]

    def _send(self, request, event_name, **_):
        operation = event_name.rpartition(".")[2]
        self.sent[operation] += 1
        botocore_stubber.enabled = True
        for n, (name, fault) in enumerate(self._faults):
            if name == operation:
                del self._faults[n]
                response = fault(request)
                botocore_stubber.enabled = response is None  # every handler is called: the server must not do it now
                return response
        return None


def deliver(request):
    """Let the server do what a request asks for."""
    return botocore_stubber("before-send", request)


def answer(status, code, *, applied=False):
    """The server (or something before it) answers with an error, having done the work or not."""

    def fault(request):
        if applied:
            deliver(request)
        body = f"<Error><Code>{code}</Code><Message>as requested</Message></Error>".encode()
        return AWSResponse(request.url, status, {}, Raw(body))

    return fault


def break_off(error, *, applied=False):
    """The line breaks, before or after the server has done the work."""

    def fault(request):
        if applied:
            deliver(request)
        raise error(endpoint_url=request.url)

    return fault


class Raw:
    def __init__(self, body):
        self._body = body

    def stream(self, **_):
        yield self._body


@pytest.fixture(scope="module")
def client():
    """One for all tests, as it takes long to make."""
    return boto3.client(
        "s3",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
        config=Config(retries={"mode": "standard", "max_attempts": 4}),
    )


@pytest.fixture
def wire(client):
    with mock_aws():
        wire = Wire(client)
        wire.client.create_bucket(Bucket=BUCKET)
        wire.sent.clear()
        yield wire
        wire.close()


_prefixes = (f"p{n}" for n in itertools.count())


@pytest.fixture
def store(wire):
    return wire.store(next(_prefixes))


LOST_REPLIES = [
    pytest.param(answer(500, "InternalError", applied=True), id="F8 applied, then 500"),
    pytest.param(answer(503, "SlowDown", applied=True), id="F9 applied, then 503"),
    pytest.param(break_off(ReadTimeoutError, applied=True), id="F7 applied, then no reply"),
    pytest.param(break_off(EndpointConnectionError, applied=True), id="F7 applied, then the line breaks"),
]
LOST_REQUESTS = [
    pytest.param(answer(500, "InternalError"), id="F9 500, not applied"),
    pytest.param(answer(503, "SlowDown"), id="F9 slow down"),
    pytest.param(answer(409, "ConditionalRequestConflict"), id="F9 conflicting conditional request"),
    pytest.param(break_off(EndpointConnectionError), id="F9 no connection"),
]


@pytest.mark.parametrize("fault", LOST_REPLIES)
def test_a_write_whose_reply_is_lost_is_read_back_and_sent_once(wire, store, fault):
    etag = store.create("a", b"first")
    wire.sent.clear()
    wire.fail("PutObject", fault)
    new = store.swap("a", b"second", expected=etag)
    stored = store.get("a", max_bytes=9)
    assert (stored.data, stored.etag) == (b"second", new)
    assert wire.sent["PutObject"] == 1


@pytest.mark.parametrize("fault", LOST_REQUESTS)
def test_a_smaller_object_takes_the_place_of_a_larger_one_at_the_second_try(wire, store, fault):
    etag = store.create("a", b"first and much larger")
    wire.fail("PutObject", fault)
    store.swap("a", b"second", expected=etag)
    assert store.get("a", max_bytes=99).data == b"second"


@pytest.mark.parametrize("fault", LOST_REPLIES)
def test_a_create_whose_reply_is_lost_is_read_back(wire, store, fault):
    wire.fail("PutObject", fault)
    etag = store.create("a", b"first")
    assert store.get("a", max_bytes=9).etag == etag
    assert wire.sent["PutObject"] == 1


@pytest.mark.parametrize("fault", LOST_REQUESTS)
def test_a_write_that_was_not_applied_is_sent_again_after_a_pause(wire, store, fault):
    etag = store.create("a", b"first")
    wire.fail("PutObject", fault, fault)
    store.swap("a", b"second", expected=etag)
    assert store.get("a", max_bytes=9).data == b"second"
    assert len(wire.pauses) == 2
    assert all(0 < pause <= limit for pause, limit in zip(wire.pauses, (0.05, 0.1), strict=True))


def test_a_lost_reply_with_a_rival_after_it_is_a_conflict(wire, store):  # F7
    etag = store.create("a", b"first")

    def rival(request):
        deliver(request)
        store.put("a", b"rival")
        raise ReadTimeoutError(endpoint_url=request.url)

    wire.fail("PutObject", rival)
    with pytest.raises(ConflictError, match="another writer"):
        store.swap("a", b"second", expected=etag)
    assert store.get("a", max_bytes=9).data == b"rival"


def test_a_retry_that_meets_its_own_first_try_has_won(wire, store):  # F8
    etag = store.create("a", b"first")
    # The reply is lost, reading back fails too, and the second try loses its condition against the first.
    wire.fail("PutObject", answer(500, "InternalError", applied=True))
    wire.fail("GetObject", *[answer(500, "InternalError")] * 5)
    new = store.swap("a", b"second", expected=etag)
    assert store.get("a", max_bytes=9).etag == new


def test_a_condition_that_does_not_hold_is_not_tried_again(wire, store):
    store.create("a", b"first")
    wire.sent.clear()
    with pytest.raises(ConflictError):
        store.create("a", b"second")
    assert wire.sent == {"PutObject": 1}


def test_an_outcome_that_nobody_can_know_is_reported_as_that(wire, store):  # F7 F11
    etag = store.create("a", b"first")
    wire.fail("PutObject", *[break_off(ReadTimeoutError)] * 5)
    wire.fail("GetObject", *[break_off(EndpointConnectionError)] * 20)
    with pytest.raises(OutcomeUnknownError, match="may have been written"):
        store.swap("a", b"second", expected=etag)


def test_endless_rivals_end_in_a_clear_error(wire, store):  # F9
    etag = store.create("a", b"first")
    wire.sent.clear()
    wire.fail("PutObject", *[answer(409, "ConditionalRequestConflict")] * 5)
    with pytest.raises(StoreUnavailableError, match="try again") as raised:
        store.swap("a", b"second", expected=etag)
    assert not isinstance(raised.value, OutcomeUnknownError)
    assert wire.sent["PutObject"] == 5


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        pytest.param(answer(403, "AccessDenied"), ConfigurationError, "credentials", id="F50 forbidden"),
        pytest.param(answer(404, "NoSuchBucket"), ConfigurationError, "bucket", id="F11 no such bucket"),
        pytest.param(answer(404, "NoSuchKey"), NotFoundError, "not in the store", id="F12 gone"),
    ],
)
def test_what_a_retry_cannot_cure_is_reported_at_once(wire, store, fault, error, message):
    store.create("a", b"first")
    wire.fail("GetObject", fault)
    with pytest.raises(error, match=message):
        store.get("a", max_bytes=9)


def test_a_writer_without_the_right_changes_nothing(wire, store):  # F50
    etag = store.create("a", b"first")
    wire.sent.clear()
    wire.fail("PutObject", answer(403, "AccessDenied"))
    with pytest.raises(ConfigurationError, match="permit"):
        store.swap("a", b"second", expected=etag)
    assert store.get("a", max_bytes=9).data == b"first"
    assert wire.sent["PutObject"] == 1


def test_an_outage_of_reads_is_reported_as_that(wire, store):  # F11
    store.create("a", b"first")
    wire.fail("GetObject", *[break_off(EndpointConnectionError)] * 20)
    with pytest.raises(StoreUnavailableError, match="nothing is known to have changed"):
        store.get("a", max_bytes=9)


def test_a_body_that_breaks_off_is_no_object(wire, store):
    store.create("a", b"12345")

    def cut(request):
        return AWSResponse(request.url, 200, {"content-length": "5", "etag": '"x"'}, Body(b"123"))

    class Body(Raw):
        def read(self, amount=None, **_):
            data, self._body = self._body[:amount], self._body[amount:] if amount else b""
            return data

        def close(self):
            closed.append(True)

    closed = []
    wire.fail("GetObject", *[cut] * 5)
    with pytest.raises(StoreUnavailableError):
        store.get("a", max_bytes=9)
    assert closed  # else the broken connection would stay open until it is collected


def test_a_listing_that_fails_on_its_second_page_yields_nothing(wire, store, monkeypatch):  # F38
    for n in range(3):
        store.create(f"b/{n}", b"1")
    pages = wire.client.list_objects_v2
    monkeypatch.setattr(wire.client, "list_objects_v2", lambda **options: pages(**options, MaxKeys=2))
    assert [item.key for item in store.list("b/")] == ["b/0", "b/1", "b/2"]
    assert wire.sent["ListObjectsV2"] == 2
    wire.fail("ListObjectsV2", lambda _: None, *[answer(500, "InternalError")] * 5)
    seen = []
    with pytest.raises(StoreUnavailableError):
        seen.extend(store.list("b/"))
    assert seen == []


def test_a_listing_that_is_cut_without_saying_how_to_go_on_is_an_error(wire, store, monkeypatch):  # F38
    store.create("b/1", b"1")
    monkeypatch.setattr(wire.client, "list_objects_v2", lambda **_: {"IsTruncated": True, "Contents": []})
    with pytest.raises(StoreUnavailableError, match="truncated"):
        list(store.list("b/"))


def test_a_listing_that_never_ends_is_an_error(wire, store, monkeypatch):  # F22 F38
    page = {"IsTruncated": True, "Contents": [], "NextContinuationToken": "same"}
    monkeypatch.setattr(wire.client, "list_objects_v2", lambda **_: page)
    with pytest.raises(StoreUnavailableError, match="without a token"):
        list(store.list("b/"))


def test_what_no_key_can_name_is_passed_over(wire, store):  # F17
    store.create("b/1", b"1")
    for name in ("b/", "b//x", "b/?", "b/2/"):  # some programs write folders as empty objects
        wire.client.put_object(Bucket=BUCKET, Key=store._prefix + name, Body=b"")
    assert [item.key for item in store.list("")] == ["b/1"]


def test_a_server_that_finds_nothing_to_delete_is_not_contradicted(wire, store):
    wire.fail("DeleteObject", answer(404, "NoSuchKey"))
    store.delete("a")
    assert wire.sent["DeleteObject"] == 1


def test_two_stores_on_one_client_and_prefix_see_the_same(wire):
    one, other = wire.store("shared"), wire.store("shared")
    one.put("a", b"1")
    assert other.get("a", max_bytes=1).data == b"1"


def test_a_server_that_knows_no_conditions_is_named_as_unsafe(wire, store):  # F10
    wire.fail("PutObject", answer(501, "NotImplemented"))
    with pytest.raises(UnsafeStoreError, match="does not support conditional writes"):
        store.create("a", b"1")
    assert wire.sent["PutObject"] == 1


def cut_short(request):
    """The answer's body ends before the size that its head announces."""
    whole = deliver(request)
    return AWSResponse(request.url, 200, whole.headers, ShortBody(b""))


class ShortBody(Raw):
    def read(self, *_, **__):
        return self._body

    def close(self):
        pass


def test_a_poll_whose_body_breaks_off_is_asked_for_again(wire, store):  # F11
    store.create("a", b"bytes")
    wire.fail("GetObject", cut_short, cut_short)
    assert store.get_if_changed("a", etag='"other"', max_bytes=9).data == b"bytes"


def test_a_body_that_breaks_off_is_asked_for_again(wire, store):  # F11
    store.create("a", b"bytes")
    wire.fail("GetObject", cut_short, cut_short)
    assert store.get("a", max_bytes=9).data == b"bytes"
    assert (wire.sent["GetObject"], len(wire.pauses)) == (3, 2)


@pytest.mark.parametrize(
    ("under", "days"), [pytest.param("", 30, id="whole bucket"), pytest.param("p/registry/", 1, id="below the prefix")]
)
def test_the_probe_names_a_lifecycle_rule_that_deletes_by_age(wire, under, days):
    store = wire.store("p")
    rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": under}, "Expiration": {"Days": days}}
    elsewhere = rule | {"ID": "logs", "Filter": {"Prefix": "logs/"}}
    put = wire.client.put_bucket_lifecycle_configuration
    put(Bucket=BUCKET, LifecycleConfiguration={"Rules": [elsewhere]})
    assert store.expiring_rules() == ()
    assert all(result.held for result in probe(store))
    put(Bucket=BUCKET, LifecycleConfiguration={"Rules": [elsewhere, rule]})
    assert store.expiring_rules() == ("tidy",)
    assert [result.name for result in probe(store) if not result.held] == ["no lifecycle rule deletes objects by age"]
