"""Raw events in a bucket, on a real server: whole, in order, resumed where a connection broke, and never half a day."""

import gzip
import io
import json
from dataclasses import replace
from datetime import date

import pytest
import zstandard
from botocore.exceptions import ClientError, ReadTimeoutError

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.finding import find_inputs, open_stream
from recsys_assets.ingest.sources.objects import find_objects, open_object
from recsys_assets.s3.client import make_client
from recsys_assets.settings.settings import Settings

DAY = date(2026, 1, 1)
HOME, CART = Target("shop", "home"), Target("shop", "cart")
TEXT = b"".join(b'{"n": %d}\n' % n for n in range(200_000))


def settings(template, *targets):
    rows = [{"tenant": target.tenant, "surface": target.surface, "slug": f"t{n}"} for n, target in enumerate(targets)]
    return Settings.model_validate({"raw": {"exposures": template}, "targets": rows})


def read(stream, size=10_007):
    buffer, text = bytearray(size), bytearray()
    with stream:
        while count := stream.readinto(memoryview(buffer)):
            text += buffer[:count]
    return bytes(text)


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A part of the bucket that no other test uses, and the environment by which boto3 finds the server."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return Bucket(s3_server)


class Bucket:
    def __init__(self, server):
        self.name, self.prefix, self.client = server.bucket, server.new_prefix(), server.client()
        self.uri = f"s3://{self.name}/{self.prefix}"

    def put(self, key, data=b"{}\n"):
        self.client.put_object(Bucket=self.name, Key=f"{self.prefix}/{key}", Body=data)

    def delete(self, key):
        self.client.delete_object(Bucket=self.name, Key=f"{self.prefix}/{key}")

    def found(self, template, *targets, client=None):
        chosen = settings(f"{self.uri}/{template}", *(targets or (HOME,)))
        return find_objects(chosen, DAY, client=client or self.client)

    def keys(self, template, *targets):
        return [item.key.removeprefix(f"{self.prefix}/") for item in self.found(template, *targets)]


pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("{day}/*.jsonl*", ["2026-01-01/a.jsonl", "2026-01-01/b.jsonl.gz"], id="a prefix a day"),
        pytest.param("{day:%Y/%m/%d}/*.jsonl", ["2026/01/01/a.jsonl"], id="day in parts"),
        pytest.param(
            "{day}/**", ["2026-01-01/a.jsonl", "2026-01-01/b.jsonl.gz", "2026-01-01/deep/c.jsonl"], id="below"
        ),
        pytest.param("**/c.jsonl*{day}", [], id="nothing there"),
        pytest.param("{day}/[!a].jsonl.*", ["2026-01-01/b.jsonl.gz"], id="a set of characters"),
    ],
)
def test_the_objects_of_a_day_are_found(bucket, template, expected):
    for key in ("a.jsonl", "b.jsonl.gz", "deep/c.jsonl", ".hidden.jsonl", "folder/"):
        bucket.put(f"2026-01-01/{key}")
    bucket.put("2026-01-02/a.jsonl")
    bucket.put("2026/01/01/a.jsonl")
    assert bucket.keys(template) == expected


def test_a_day_of_more_objects_than_a_page_holds_is_whole(bucket):
    for n in range(25):
        bucket.put(f"{DAY}/{n:02d}.jsonl")
    pages = bucket.client.meta.events
    pages.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 7})
    assert len(bucket.keys("{day}/*.jsonl")) == 25


def test_targets_share_an_object_or_have_their_own(bucket):
    bucket.put("shop/home/2026-01-01.jsonl")
    bucket.put("shop/cart/2026-01-01.jsonl")
    own = bucket.found("{tenant}/{surface}/{day}.jsonl", HOME, CART)
    assert [item.targets for item in own] == [(CART,), (HOME,)]
    assert [item.targets for item in bucket.found("*/*/{day}.jsonl", HOME, CART)] == [(CART, HOME)] * 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gz", "zst"])
def test_an_object_streams_whole_and_is_identified_by_its_etag(bucket, pack):
    ending = {gzip.compress: ".gz", zstandard.compress: ".zst"}.get(pack, "")
    bucket.put(f"{DAY}.jsonl{ending}", pack(TEXT))
    (item,) = bucket.found("{day}.jsonl*")
    stream = item.open()
    assert read(stream) == TEXT
    assert (stream.size, stream.digest) == (len(pack(TEXT)), item.digest())
    assert item.digest() == f"etag:{item.etag.strip(chr(34))}"


def test_changed_content_changes_digest_and_appearance(bucket):  # F29
    bucket.put(f"{DAY}.jsonl", b"one\n")
    (before,) = bucket.found("{day}.jsonl")
    bucket.put(f"{DAY}.jsonl", b"two\n")
    (after,) = bucket.found("{day}.jsonl")
    assert before.digest() != after.digest()
    assert before.appearance() != after.appearance()
    assert after.touched_at() >= before.touched_at()


def test_an_object_replaced_after_it_was_listed_is_refused(bucket):  # F29
    bucket.put(f"{DAY}.jsonl", b"one\n")
    (item,) = bucket.found("{day}.jsonl")
    bucket.put(f"{DAY}.jsonl", b"two\n")
    with pytest.raises(InputError, match=r"2026-01-01\.jsonl changed while it was read"):
        item.open()


def test_an_object_deleted_after_it_was_listed_is_refused(bucket):
    bucket.put(f"{DAY}.jsonl")
    (item,) = bucket.found("{day}.jsonl")
    bucket.delete(f"{DAY}.jsonl")
    with pytest.raises(InputError, match="is gone since it was listed"):
        item.open()


class BreakingClient:
    """A client whose bodies break after some bytes, each time again, as a bad line does."""

    def __init__(self, client, every):
        self._client, self._every = client, every
        self.asked = 0

    def get_object(self, **asked):
        self.asked += 1
        reply = self._client.get_object(**asked)
        return {**reply, "Body": _BreakingBody(reply["Body"], self._every)}

    def __getattr__(self, name):
        return getattr(self._client, name)


class _BreakingBody(io.RawIOBase):
    def __init__(self, body, left):
        self._body, self._left = body, left

    def readinto(self, buffer):
        if self._left == 0:
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")
        count = self._body.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_broken_connection_goes_on_where_it_was_left(bucket, ending):
    bucket.put(f"{DAY}.jsonl{ending}", gzip.compress(TEXT) if ending else TEXT)
    client = BreakingClient(bucket.client, every=100_000)
    (item,) = bucket.found("{day}.jsonl*", client=client)
    assert read(item.open()) == TEXT
    assert client.asked > 2


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_connection_that_gives_nothing_is_no_end_of_the_object(bucket, ending):  # F11
    bucket.put(f"{DAY}.jsonl{ending}", gzip.compress(TEXT) if ending else TEXT)
    (item,) = bucket.found("{day}.jsonl*", client=BreakingClient(bucket.client, every=0))
    with pytest.raises(StoreUnavailableError, match=r"2026-01-01\.jsonl"):
        read(item.open())


def test_a_truncated_gz_object_is_an_error_that_names_it(bucket):
    bucket.put(f"{DAY}.jsonl.gz", gzip.compress(TEXT)[:-9])
    (item,) = bucket.found("{day}.jsonl.gz")
    with pytest.raises(InputError, match=r"2026-01-01\.jsonl\.gz is no whole gzip file"):
        read(item.open())


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_an_error_and_no_empty_day():
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        find_inputs(settings("s3://no-such-bucket/{day}/*", HOME), DAY)


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_credentials_are_an_error_and_no_empty_day(bucket, s3_server, wrong):  # F50
    with pytest.raises(ConfigurationError, match="check the credentials"):
        bucket.found("{day}/*", client=replace(s3_server, **{wrong: "wrong"}).client())


def test_a_server_that_is_down_is_an_error_and_no_empty_day(bucket, s3_server):  # F11
    down = replace(s3_server, endpoint="http://127.0.0.1:9").client(retries={"total_max_attempts": 1})
    with pytest.raises(StoreUnavailableError, match="try again"):
        bucket.found("{day}/*", client=down)


@pytest.mark.parametrize(
    "template",
    ["s3:///{day}", "s3://bucket", "s3://b*/{day}", "s3://{tenant}/{day}", "s3://bucket/no-day", "ftp://x/{day}"],
)
def test_a_template_that_names_no_place_or_day_is_refused(template):
    with pytest.raises(ConfigurationError, match=r"expected|add \{day\}"):
        find_inputs(settings(template, HOME), DAY)


def test_one_object_opens_by_its_uri(bucket):
    bucket.put("catalog.jsonl", json.dumps({"item_id": "i1"}).encode())
    assert read(open_stream(f"{bucket.uri}/catalog.jsonl")) == b'{"item_id": "i1"}'
    with pytest.raises(InputError, match="is not there"):
        open_object(f"{bucket.uri}/other.jsonl", client=make_client())


class Refusing:
    """A client whose server refuses to give one object."""

    def __init__(self, client, key, code, status):
        self._client, self._key = client, key
        self._answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}

    def get_object(self, **asked):
        if asked["Key"].endswith(self._key):
            raise ClientError(self._answer, "GetObject")
        return self._client.get_object(**asked)

    def __getattr__(self, name):
        return getattr(self._client, name)


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        pytest.param("InvalidObjectState", 403, "is in cold storage .* restore the object", id="Glacier"),
        pytest.param("AccessDenied", 403, "may not be read", id="F50 its own right"),
        pytest.param("KMS.AccessDeniedException", 403, "may not be read", id="F50 its own key"),
    ],
)
def test_an_object_that_its_server_refuses_fails_its_own_targets_alone(bucket, code, status, message):  # F47
    bucket.put("a/2026-01-01.jsonl", b"{}\n")
    bucket.put("b/2026-01-01.jsonl", b"{}\n")
    client = Refusing(bucket.client, "a/2026-01-01.jsonl", code, status)
    one, other = bucket.found("*/{day}.jsonl", client=client)
    with pytest.raises(InputError, match=rf"a/2026-01-01.jsonl {message}"):
        one.open()
    with pytest.raises(InputError, match=message):
        one.open_seekable().readinto(bytearray(2))
    assert read(other.open()) == b"{}\n"
