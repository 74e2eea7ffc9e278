"""Days built from every kind of source ship the same artifacts as the same events in files do."""

import json
from datetime import datetime

import boto3
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.ingest.sources.postgresql_table import VARIABLE
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.run_day import run_day
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.small_shop import CART, FIRST, HOME, TARGETS, DayRun, day_lines

CATALOG = '{"item_id": "i1", "tags": ["red"]}\n'
pytestmark = pytest.mark.slow


class Shop:
    """A configuration in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def settings(self):
        return load_settings(self.folder / "recsys.toml")

    @property
    def store(self):
        return FilesystemStore(self.folder / "store")

    def configure(self, exposures, *, store="store", catalog="catalog.jsonl", more=""):
        raw = f'[raw]\nexposures = "{exposures}"\ncatalog = "{catalog}"\n{more}'
        text = f'[storage]\nroot = "{store}"\n{raw}\n[partitions]\nstart = {FIRST}\n{TARGETS}'
        (self.folder / "recsys.toml").write_text(text)

    def build(self):
        store = open_configured_store(self.settings)
        return DayRun(tuple(run_day(store, self.settings, self.settings.targets, FIRST)))


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The versions that the same events make when they come in a file."""
    shop = Shop(tmp_path_factory.mktemp("files"))
    (shop.folder / f"{FIRST}.jsonl").write_text("\n".join(day_lines(FIRST)))
    (shop.folder / "catalog.jsonl").write_text(CATALOG)
    shop.configure("{day}.jsonl")
    assert shop.build().success
    return live(shop.store)


def live(store):
    return {target: read_current(store, target).versions for target in (HOME, CART)}


@pytest.fixture
def environment(s3_server, monkeypatch):
    """What lets boto3 find the server by itself, in a session that remembers no other."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_a_day_is_built_from_a_bucket_into_a_bucket_with_nothing_on_disk(shop, s3_server, expected):
    client, prefix = s3_server.client(), s3_server.new_prefix()
    uri = f"s3://{s3_server.bucket}/{prefix}"

    def put(key, text):
        client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/{key}", Body=text.encode())

    put(f"raw/{FIRST}/a.jsonl", "\n".join(day_lines(FIRST)))
    put("catalog.jsonl", CATALOG)
    shop.configure(f"{uri}/raw/{{day}}/*.jsonl*", store=f"{uri}/store", catalog=f"{uri}/catalog.jsonl")
    assert shop.build().success
    assert [path.name for path in shop.folder.iterdir()] == ["recsys.toml"]
    store = S3Store(client, bucket=s3_server.bucket, prefix=f"{prefix}/store")
    assert live(store) == expected
    assert build_raw(store, shop.settings, FIRST).reused
    put(f"raw/{FIRST}/b.jsonl", "\n".join(day_lines(FIRST, shift=1)))
    again = build_raw(store, shop.settings, FIRST)
    assert [file.name for file in again.record.files] == [f"{uri}/raw/{FIRST}/{name}.jsonl" for name in "ab"]


def test_a_bucket_that_does_not_answer_fails_the_day(shop, monkeypatch):  # F11
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, value in {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "k"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    shop.configure("s3://raw/{day}.jsonl")
    with pytest.raises(StoreUnavailableError, match="s3://raw/2026-01-01"):
        build_raw(shop.store, shop.settings, FIRST)
    assert list(shop.store.list("")) == []


def test_a_day_of_parquet_files_ships_what_its_lines_ship(shop, expected):
    events = [json.loads(line) for line in day_lines(FIRST)]
    rows = [{**event, "ts": datetime.fromisoformat(event["ts"]), "user_id": event.get("user_id")} for event in events]
    pq.write_table(pa.Table.from_pylist(rows), shop.folder / f"{FIRST}.parquet")
    (shop.folder / "catalog.jsonl").write_text(CATALOG)
    shop.configure("{day}.parquet")
    assert shop.build().success
    assert live(shop.store) == expected
    assert build_raw(shop.store, shop.settings, FIRST).reused
    shop.configure("{day}.parquet", more='columns = { user_id = "session_id" }')
    assert not build_raw(shop.store, shop.settings, FIRST).reused, "another reading of the same bytes is another day"


def test_a_day_of_a_delta_table_ships_what_its_lines_ship(shop, expected):
    events = [json.loads(line) for line in day_lines(FIRST)]
    rows = [{**event, "ts": datetime.fromisoformat(event["ts"]), "user_id": event.get("user_id")} for event in events]
    write_deltalake(shop.folder / "lake", pa.Table.from_pylist(rows))
    (shop.folder / "catalog.jsonl").write_text(CATALOG)
    shop.configure("delta:lake")
    assert shop.build().success
    assert live(shop.store) == expected
    again = build_raw(shop.store, shop.settings, FIRST)
    assert again.reused
    assert [file.version for file in again.record.files] == ["version 0"]


def test_a_day_of_a_table_ships_what_its_lines_ship(shop, database, monkeypatch, expected):
    monkeypatch.setenv(VARIABLE, database)
    events = [json.loads(line) for line in day_lines(FIRST)]
    with psycopg.connect(database) as connection:
        connection.execute(
            "CREATE TABLE events AS SELECT * FROM jsonb_to_recordset(%s::jsonb) AS e"
            "(ts timestamptz, tenant text, surface text, session_id text, item_id text, user_id text, rank int)",
            [json.dumps(events)],
        )
    (shop.folder / "catalog.jsonl").write_text(CATALOG)
    shop.configure("postgresql:events")
    assert shop.build().success
    assert live(shop.store) == expected
    assert build_raw(shop.store, shop.settings, FIRST).reused
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE events SET item_id = 'other' WHERE rank = 2")
    assert not build_raw(shop.store, shop.settings, FIRST).reused
