"""Google Cloud Storage and Azure under faults: what became of a write is found out; nothing is sent twice unseen."""

import json
import sys
import urllib.error
import urllib.request
from secrets import token_hex

import pytest

from recsys_assets.clouds.azure import ACCOUNT, CONNECTION
from recsys_assets.clouds.gcs import EMULATOR
from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from recsys_assets.storage.open import open_store

WRITES = {"gcs": "POST", "azure": "PUT"}


class Cloud:
    """A store on a fake that fails as it is asked to, and what was waited."""

    def __init__(self, kind, server, opened):
        self.server, self.pauses, self.write = server, [], WRITES[kind]
        self.store = opened(f"tests/{token_hex(4)}", pause=self.pauses.append)

    def fail(self, *faults, method=None):
        self.server.faults[:] = [(method or self.write, one) for one in faults]
        self.server.asked.clear()

    @property
    def writes(self):
        return self.server.asked.count(self.write)


@pytest.fixture(params=["gcs", "azure"])
def cloud(request):
    opened, server = (request.getfixturevalue(name) for name in (request.param, f"{request.param}_server"))
    yield Cloud(request.param, server, opened)
    server.faults.clear()


@pytest.mark.parametrize("fault", ["lost", ("applied", 500), ("applied", 503)])
def test_a_write_whose_reply_is_lost_is_read_back_and_sent_once(cloud, fault):
    cloud.fail(fault)
    etag = cloud.store.create("a", b"one")
    assert (cloud.writes, cloud.store.get("a", max_bytes=9).etag) == (1, etag)
    cloud.fail(fault)
    etag = cloud.store.swap("a", b"two", expected=etag)
    stored = cloud.store.get("a", max_bytes=9)
    assert (cloud.writes, stored.etag, stored.data) == (1, etag, b"two")


@pytest.mark.parametrize("status", [500, 503, 408, 409, 429])
def test_a_write_that_was_not_applied_is_sent_again(cloud, status):
    etag = cloud.store.create("a", b"one")
    cloud.fail(status, status)
    cloud.store.swap("a", b"two", expected=etag)
    assert (cloud.writes, len(cloud.pauses)) == (3, 2)
    assert cloud.store.get("a", max_bytes=9).data == b"two"


@pytest.mark.parametrize("status", [409, 429])
def test_a_busy_server_is_no_wrong_address(cloud, status):
    cloud.fail(*[status] * 20)
    with pytest.raises(StoreUnavailableError, match="try again"):
        cloud.store.put("a", b"one")


def test_a_condition_that_does_not_hold_is_answered_once(cloud):
    etag = cloud.store.create("a", b"one")
    cloud.store.swap("a", b"two", expected=etag)
    cloud.fail()
    with pytest.raises(ConflictError):
        cloud.store.swap("a", b"three", expected=etag)
    with pytest.raises(ConflictError):
        cloud.store.create("a", b"three")
    assert (cloud.writes, cloud.pauses) == (2, [])


def test_a_lost_condition_after_silence_is_no_loss_where_our_bytes_are_there(cloud):
    etag = cloud.store.create("a", b"one")
    cloud.fail(503, "lost")  # the second was applied
    assert cloud.store.swap("a", b"two", expected=etag) == cloud.store.get("a", max_bytes=9).etag


def test_where_another_writer_was_behind_a_silence_it_is_a_conflict(cloud):
    etag = cloud.store.create("a", b"one")
    cloud.store.swap("a", b"another", expected=etag)
    cloud.fail(503)
    with pytest.raises(ConflictError):
        cloud.store.swap("a", b"two", expected=etag)
    assert cloud.store.get("a", max_bytes=9).data == b"another"


def test_a_server_that_stays_silent_leaves_the_outcome_open_and_one_that_stays_busy_does_not(cloud):
    etag = cloud.store.create("a", b"one")
    cloud.fail(*[503] * 5)
    with pytest.raises(OutcomeUnknownError):
        cloud.store.swap("a", b"two", expected=etag)
    cloud.fail(*[409] * 5)
    with pytest.raises(StoreUnavailableError, match="nothing has changed") as refused:
        cloud.store.swap("a", b"two", expected=etag)
    assert not isinstance(refused.value, OutcomeUnknownError)
    assert cloud.store.get("a", max_bytes=9).data == b"one"


def test_a_conditional_delete_without_an_answer_is_unknown_and_is_not_sent_twice(cloud):
    etag = cloud.store.create("a", b"one")
    cloud.fail("lost", method="DELETE")
    with pytest.raises(OutcomeUnknownError):
        cloud.store.delete_unchanged("a", expected=etag)
    assert cloud.server.asked.count("DELETE") == 1


def test_reads_are_repeated_and_an_answer_that_breaks_off_is_read_again(cloud):
    cloud.store.create("a", b"x" * 1000)
    cloud.fail("short", 503, method="GET")
    assert cloud.store.get("a", max_bytes=1000).data == b"x" * 1000


def test_no_more_is_read_than_was_allowed(cloud):
    cloud.store.create("a", b"x" * 1000)
    with pytest.raises(CorruptObjectError, match="1000 bytes, expected at most 999"):
        cloud.store.get("a", max_bytes=999)


def test_who_may_not_come_in_and_buckets_that_are_not_there_are_named_with_what_to_check(cloud):
    cloud.fail(403)
    with pytest.raises(ConfigurationError, match=f"^{cloud.store.root_uri}/a: .*check the credentials"):
        cloud.store.create("a", b"one")
    root = cloud.store.root_uri.replace("bucket", "nobody")
    with pytest.raises(ConfigurationError, match=f"^{root}/a: [^{{<]*check "):  # no JSON or XML of the server
        open_store(root).get("a", max_bytes=9)
    with pytest.raises(ConfigurationError, match=f"^{root}/a/: .*check "):
        list(open_store(root).list("a/"))


def test_without_credentials_each_cloud_says_where_it_looks_for_them(monkeypatch, tmp_path):
    for name in (EMULATOR, CONNECTION, ACCOUNT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    with pytest.raises(ConfigurationError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        open_store("gs://bucket/x")
    with pytest.raises(ConfigurationError, match=f"{ACCOUNT}, or {CONNECTION}"):
        open_store("az://bucket/x")
    monkeypatch.setenv(CONNECTION, "AccountKey=secret")
    with pytest.raises(ConfigurationError, match="is invalid") as refused:
        open_store("az://bucket/x")
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="s3://, gs://, az:// and a bucket"):
        open_store("ftp://bucket/x")


@pytest.mark.parametrize(("scheme", "extra", "library"), [("gs", "gcs", "google.auth"), ("az", "azure", "azure.core")])
def test_without_the_library_the_extra_is_named(monkeypatch, scheme, extra, library):
    monkeypatch.setitem(sys.modules, library, None)
    for name in ("gcs", "azure"):
        for room in ("storage", "clouds"):
            monkeypatch.delitem(sys.modules, f"recsys_assets.{room}.{name}", raising=False)
    with pytest.raises(ConfigurationError, match=rf'pip install "recsys-assets\[{extra}\]"'):
        open_store(f"{scheme}://bucket/x")


def ask(url, method, data=None):
    request = urllib.request.Request(url, data, method=method)  # noqa: S310 - the fake's own address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_fake_of_google_is_strict(gcs_server):
    """Its conditions are those that Google documents, and one that it does not know is refused, not passed over."""
    upload = f"{gcs_server.endpoint}/upload/storage/v1/b/bucket/o?uploadType=media&name=strict"
    status, body = ask(f"{upload}&ifGenerationMatch=0", "POST", b"one")
    first = json.loads(body)["generation"]
    assert status == 200
    assert ask(f"{upload}&ifGenerationMatch=0", "POST", b"two")[0] == 412
    assert ask(f"{upload}&ifGenerationMatch=1", "POST", b"two")[0] == 412
    assert ask(f"{upload}&ifMetagenerationMatch=1", "POST", b"two")[0] == 400
    second = json.loads(ask(f"{upload}&ifGenerationMatch={first}", "POST", b"one")[1])["generation"]
    assert int(second) > int(first), "equal bytes are another generation"
    place = f"{gcs_server.endpoint}/storage/v1/b/bucket/o/strict"
    assert ask(f"{place}?alt=media&ifGenerationNotMatch={second}", "GET")[0] == 304
    assert ask(f"{place}?ifGenerationMatch={first}", "DELETE")[0] == 412
    assert ask(f"{place}?ifGenerationMatch={second}", "DELETE")[0] == 204
    assert ask(place, "GET")[0] == 404
