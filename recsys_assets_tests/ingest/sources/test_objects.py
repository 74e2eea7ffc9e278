"""Raw events in a bucket of any cloud: whole, in order, resumed where a connection broke, and never half a day."""

import gzip
import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import date

import pytest
import zstandard
from botocore.exceptions import ClientError, ReadTimeoutError

from recsys_assets.clouds.s3 import S3Bucket
from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.discovery import find_inputs, open_stream
from recsys_assets.ingest.sources.objects import find_objects
from recsys_assets.settings.settings import Settings
from recsys_assets_tests.storage.cloud_fakes import PAGE

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


def found(bucket, template, *targets, **more):
    return find_objects(settings(f"{bucket.uri}/{template}", *(targets or (HOME,))), DAY, **more)


def keys(bucket, template, *targets):
    return [item.entry.key.removeprefix(f"{bucket.prefix}/") for item in found(bucket, template, *targets)]


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
    assert keys(bucket, template) == expected


def test_a_day_of_more_objects_than_a_page_of_s3_holds_is_whole(on_s3):
    for n in range(25):
        on_s3.put(f"{DAY}/{n:02d}.jsonl")
    pages = on_s3.server.meta.events
    pages.register("provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 7})
    assert len(found(on_s3, "{day}/*.jsonl", opener=through(on_s3.server))) == 25


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_day_of_more_objects_than_a_page_holds_is_whole(cloud, request):
    bucket = request.getfixturevalue(f"on_{cloud}")
    for n in range(2 * PAGE + 5):
        bucket.put(f"{DAY}/{n:03d}.jsonl")
    assert len(keys(bucket, "{day}/*.jsonl")) == 2 * PAGE + 5


def test_targets_share_an_object_or_have_their_own(bucket):
    bucket.put("shop/home/2026-01-01.jsonl")
    bucket.put("shop/cart/2026-01-01.jsonl")
    own = found(bucket, "{tenant}/{surface}/{day}.jsonl", HOME, CART)
    assert [item.targets for item in own] == [(CART,), (HOME,)]
    assert [item.targets for item in found(bucket, "*/*/{day}.jsonl", HOME, CART)] == [(CART, HOME)] * 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gz", "zst"])
def test_an_object_streams_whole_and_is_identified_by_its_mark(bucket, pack):
    ending = {gzip.compress: ".gz", zstandard.compress: ".zst"}.get(pack, "")
    bucket.put(f"{DAY}.jsonl{ending}", pack(TEXT))
    (item,) = found(bucket, "{day}.jsonl*")
    stream = item.open()
    assert read(stream) == TEXT
    assert (stream.size, stream.digest) == (len(pack(TEXT)), item.digest())
    assert item.digest() == f"{'generation' if bucket.uri.startswith('gs') else 'etag'}:{item.entry.mark}"
    assert item.entry.mark.strip('"') == item.entry.mark != ""


def test_changed_content_changes_digest_and_appearance(bucket):  # F29
    bucket.put(f"{DAY}.jsonl", b"one\n")
    (before,) = found(bucket, "{day}.jsonl")
    bucket.put(f"{DAY}.jsonl", b"two\n")
    (after,) = found(bucket, "{day}.jsonl")
    assert before.digest() != after.digest()
    assert before.appearance() != after.appearance()
    assert after.touched_at() >= before.touched_at()


def test_an_object_replaced_after_it_was_listed_is_refused(bucket):  # F29
    bucket.put(f"{DAY}.jsonl", b"one\n")
    (item,) = found(bucket, "{day}.jsonl")
    bucket.put(f"{DAY}.jsonl", b"two\n")
    with pytest.raises(InputError, match=r"2026-01-01\.jsonl changed while it was read"):
        item.open()


def test_an_object_deleted_after_it_was_listed_is_refused(bucket):
    bucket.put(f"{DAY}.jsonl")
    (item,) = found(bucket, "{day}.jsonl")
    bucket.delete(f"{DAY}.jsonl")
    with pytest.raises(InputError, match=r"vanished after it was listed|changed while it was read"):
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

    def close(self):
        self._body.close()
        super().close()


def through(client):
    """Return what opens a bucket through this client."""
    return lambda uri: S3Bucket(client, uri.split("/")[2])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_broken_connection_to_s3_goes_on_where_it_was_left(on_s3, ending):
    on_s3.put(f"{DAY}.jsonl{ending}", gzip.compress(TEXT) if ending else TEXT)
    client = BreakingClient(on_s3.server, every=100_000)
    (item,) = found(on_s3, "{day}.jsonl*", opener=through(client))
    assert read(item.open()) == TEXT
    assert client.asked > 2


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_connection_to_s3_that_gives_nothing_is_no_end_of_the_object(on_s3, ending):  # F11
    on_s3.put(f"{DAY}.jsonl{ending}", gzip.compress(TEXT) if ending else TEXT)
    (item,) = found(on_s3, "{day}.jsonl*", opener=through(BreakingClient(on_s3.server, every=0)))
    with pytest.raises(StoreUnavailableError, match=r"2026-01-01\.jsonl"):
        read(item.open())


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_broken_connection_goes_on_where_it_was_left(cloud, ending, request):
    bucket = request.getfixturevalue(f"on_{cloud}")
    bucket.put(f"{DAY}.jsonl{ending}", gzip.compress(TEXT) if ending else TEXT)
    (item,) = found(bucket, "{day}.jsonl*")
    bucket.server.faults[:] = [("GET", "short"), ("GET", 503), ("GET", "lost")]
    bucket.server.asked.clear()
    assert read(item.open()) == TEXT
    assert (bucket.server.faults, bucket.server.asked.count("GET")) == ([], 4)


def test_a_server_that_answers_no_more_is_no_end_of_the_object(on_gs):  # F11
    on_gs.put(f"{DAY}.jsonl", TEXT)
    (item,) = found(on_gs, "{day}.jsonl")
    on_gs.server.faults[:] = [("GET", "short")] + [("GET", 503)] * 99
    with pytest.raises(StoreUnavailableError, match=r"2026-01-01\.jsonl"):
        read(item.open())


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_an_object_that_says_it_is_packed_is_read_as_it_is_stored(cloud, request):
    bucket = request.getfixturevalue(f"on_{cloud}")
    bucket.put(f"{DAY}.jsonl", gzip.compress(TEXT))
    (item,) = found(bucket, "{day}.jsonl")
    bucket.server.packed.add(item.entry.key)
    bucket.server.faults[:] = [("GET", "short")]
    assert read(item.open()) == TEXT


def test_a_folder_of_an_account_that_has_them_is_no_object(on_az):
    on_az.put(f"{DAY}/part.parquet", b"")
    on_az.put(f"{DAY}/part.parquet/a.jsonl")
    on_az.server.folders.add(f"{on_az.prefix}/{DAY}/part.parquet")
    assert keys(on_az, "{day}/**") == [f"{DAY}/part.parquet/a.jsonl"]


def test_a_truncated_gz_object_is_an_error_that_names_it(bucket):
    bucket.put(f"{DAY}.jsonl.gz", gzip.compress(TEXT)[:-9])
    (item,) = found(bucket, "{day}.jsonl.gz")
    with pytest.raises(InputError, match=r"2026-01-01\.jsonl\.gz is not a complete gzip file"):
        read(item.open())


def test_a_bucket_that_is_not_there_is_an_error_and_no_empty_day(bucket):
    scheme = bucket.uri.partition(":")[0]
    with pytest.raises(ConfigurationError, match="no-such-bucket"):
        find_inputs(settings(f"{scheme}://no-such-bucket/{{day}}/*", HOME), DAY)


@pytest.mark.parametrize("wrong", ["access_key", "secret_key"])
def test_wrong_credentials_are_an_error_and_no_empty_day(on_s3, s3_server, wrong):  # F50
    with pytest.raises(ConfigurationError, match="check the credentials"):
        found(on_s3, "{day}/*", opener=through(replace(s3_server, **{wrong: "wrong"}).client()))


@pytest.mark.parametrize("cloud", ["gs", "az"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_bucket_that_may_not_be_listed_is_an_error_and_no_empty_day(cloud, status, request):  # F50
    bucket = request.getfixturevalue(f"on_{cloud}")
    bucket.server.faults[:] = [("GET", status)]
    with pytest.raises(ConfigurationError, match=rf"(?s)^{cloud}://bucket/.*check the credentials"):
        find_inputs(settings(f"{bucket.uri}/{{day}}/*", HOME), DAY)


def test_a_server_that_is_down_is_an_error_and_no_empty_day(on_s3, s3_server):  # F11
    down = replace(s3_server, endpoint="http://127.0.0.1:9").client(retries={"total_max_attempts": 1})
    with pytest.raises(StoreUnavailableError, match="try again"):
        found(on_s3, "{day}/*", opener=through(down))


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_cloud_that_is_down_is_an_error_and_no_empty_day(cloud, request):  # F11
    bucket = request.getfixturevalue(f"on_{cloud}")
    bucket.server.faults[:] = [("GET", 503)] * 9
    with pytest.raises(StoreUnavailableError, match=rf"(?s)^{cloud}://bucket/.*try again"):
        find_inputs(settings(f"{bucket.uri}/{{day}}/*", HOME), DAY)


def test_an_empty_object_holds_no_line(bucket):
    bucket.put(f"{DAY}.jsonl", b"")
    (item,) = found(bucket, "{day}.jsonl")
    assert read(item.open()) == b""


def test_a_day_counts_once_the_mark_of_its_writer_is_there(bucket):
    bucket.put(f"{DAY}/a.jsonl")
    bucket.put(f"{DAY}/_temporary/b.jsonl")
    chosen = settings(f"{bucket.uri}/{{day}}/**", HOME)
    chosen = chosen.model_copy(update={"raw": chosen.raw.model_copy(update={"require_success": "_SUCCESS"})})
    skipped = []
    (found,) = find_inputs(chosen, DAY, skipped=skipped)
    assert skipped == [f"{bucket.uri}/{DAY}/_temporary/b.jsonl"]
    with pytest.raises(InputError, match="has no _SUCCESS"):
        found.open()
    bucket.put(f"{DAY}/_SUCCESS", b"")
    (found,) = find_inputs(chosen, DAY)
    assert read(found.open()) == b"{}\n"


def test_files_of_a_table_are_refused_with_the_setting_that_reads_it(bucket):
    bucket.put("lake/_delta_log/0.json")
    bucket.put(f"lake/day={DAY}/part-0.parquet")
    (found,) = find_inputs(settings(f"{bucket.uri}/lake/day={{day}}/*.parquet", HOME), DAY)
    with pytest.raises(InputError, match=rf'raw.exposures = "delta:{bucket.uri}/lake"'):
        found.open()


@pytest.mark.parametrize(
    "template",
    [
        *("s3:///{day}", "s3://bucket", "s3://b*/{day}", "s3://{tenant}/{day}", "s3://bucket/no-day"),
        *("gs:///{day}", "gs://bucket", "az://{tenant}/{day}", "az://bucket/no-day", "ftp://x/{day}"),
    ],
)
def test_a_template_that_names_no_place_or_day_is_refused(template):
    with pytest.raises(ConfigurationError, match=r"expected|add \{day\}"):
        find_inputs(settings(template, HOME), DAY)


def test_one_object_opens_by_its_uri(bucket):
    bucket.put("catalog.jsonl", json.dumps({"item_id": "i1"}).encode())
    assert read(open_stream(f"{bucket.uri}/catalog.jsonl")) == b'{"item_id": "i1"}'
    with pytest.raises(InputError, match="is missing"):
        open_stream(f"{bucket.uri}/other.jsonl")


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
def test_an_object_that_its_server_refuses_fails_its_own_targets_alone(on_s3, code, status, message):  # F47
    on_s3.put("a/2026-01-01.jsonl", b"{}\n")
    on_s3.put("b/2026-01-01.jsonl", b"{}\n")
    client = Refusing(on_s3.server, "a/2026-01-01.jsonl", code, status)
    one, other = found(on_s3, "*/{day}.jsonl", opener=through(client))
    with pytest.raises(InputError, match=rf"a/2026-01-01.jsonl {message}"):
        one.open()
    with pytest.raises(InputError, match=message):
        one.open_seekable().readinto(bytearray(2))
    assert read(other.open()) == b"{}\n"


@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_an_object_that_a_cloud_refuses_fails_its_own_targets_alone(cloud, request):  # F47
    bucket = request.getfixturevalue(f"on_{cloud}")
    bucket.put("a/2026-01-01.jsonl", b"{}\n")
    bucket.put("b/2026-01-01.jsonl", b"{}\n")
    one, other = found(bucket, "*/{day}.jsonl")
    bucket.server.faults[:] = [("GET", 403)]
    with pytest.raises(InputError, match=r"a/2026-01-01.jsonl may not be read"):
        one.open()
    assert read(other.open()) == b"{}\n"


@pytest.mark.parametrize(("scheme", "library"), [("gs", "google"), ("az", "azure")])
def test_without_the_client_of_a_cloud_the_message_names_its_extra(scheme, library):
    code = f"""
import sys
from datetime import date
sys.modules[{library!r}] = None
from recsys_assets.errors import ConfigurationError
from recsys_assets.ingest.sources.discovery import open_stream
try:
    open_stream("{scheme}://bucket/catalog.jsonl")
except ConfigurationError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "recsys-assets[' + {"gs": "gcs", "az": "azure"}[scheme] in said
    assert said.startswith(f"{scheme}://bucket/catalog.jsonl needs the library {library}")
