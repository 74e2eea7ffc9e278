"""The history of recsys-pipelines becomes releases to roll back to; differences and damage are named beforehand."""

import json
from datetime import UTC, date, datetime

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.encoding.codec import encode
from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.release.journal import Actor, changes
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.reader import Reader
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.kinds.golden_cases import OF_EVENTS, find_case

CASE = find_case("edge")
NOW = datetime(2026, 1, 3, tzinfo=UTC)
DAYS = [date(2025, 12, 31), date(2026, 1, 1)]
CONFIG = """
[storage]
root = "store"
[raw]
exposures = "raw/{day}.jsonl"
[partitions]
start = 2025-01-01
[artifacts]
window_days = 1
kinds = ["popularity", "cooc", "implicit", "session_seq"]
[[targets]]
tenant = "demo"
surface = "home"
segment = "default"
"""


def publish(folder, day):
    """Write a day as recsys-pipelines does: indented blobs with the clock in them, records, and the manifest last."""
    current = {}
    for kind in OF_EVENTS:
        built = KINDS[kind].build(CASE.source(kind), CASE.params(kind), LimitSettings())
        blob = encode(
            built.rows, kind=kind, target=CASE.target, window=Window.ending(day, days=1), max_bytes=10_000_000
        )
        version = blob.ref.version
        text = json.dumps(json.loads(blob.data) | {"build": {"built_at": f"{day}T23:11:59.123Z", "version": version}})
        indented = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        for character in "<>&\u2028\u2029":  # as its writer escapes them
            indented = indented.replace(character, f"\\u{ord(character):04x}")
        place = write(folder / ".out/objectstore/demo/home" / kind / f"{version}.json", indented)
        record = {"Key": {"Tenant": "demo", "Type": kind}, "Version": version, "URI": place.as_uri()}
        write(folder / ".out/registry/records/demo/home" / kind / f"{version}.json", json.dumps(record))
        current[kind] = place.as_uri()
    manifest = {"v": 1, "tenant": "demo", "surface": "home", "current": current, "updated_at": "2026-01-02T00:00:00Z"}
    write(folder / ".out/registry/current/demo/home/manifest.json", json.dumps(manifest, indent=2))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def theirs(tmp_path):
    folder = tmp_path / "theirs"
    for day in DAYS:
        publish(folder, day)
    lines = (CASE.folder / "exposures.jsonl").read_text(encoding="utf-8")
    write(folder / f".out/canonical/demo/home/exposures/{CASE.case['day']}.jsonl", lines)
    write(folder / "local.json", json.dumps({"limits": CASE.case["limits"], "db": {"dsn": "postgres://"}}))
    return folder


@pytest.fixture
def ours(tmp_path):
    return write(tmp_path / "recsys.toml", CONFIG)


def call(ours, theirs, *more, their_config=None):
    arguments = ["move-in", "--config", str(ours), "--tenant", "demo", "--surface", "home", "--reason", "moving"]
    arguments += ["--from", str(theirs), "--their-config", their_config or str(theirs / "local.json"), *more]
    return CliRunner().invoke(recsys_assets, arguments, standalone_mode=False)


def store_of(ours):
    return FilesystemStore(ours.parent / "store")


def test_history_becomes_releases_that_serve_and_can_be_rolled_back_to(ours, theirs):
    done = call(ours, theirs)
    assert done.exception is None
    assert "moved in 2 of 2 releases, the last with data through 2026-01-01" in done.output
    store = store_of(ours)
    versions = {kind: CASE.case["versions"][kind] for kind in OF_EVENTS}
    assert read_current(store, CASE.target).versions == versions
    with Reader(store, "demo", "home") as reader, reader.snapshot() as release:
        assert release.top_items(1)
    member = read_release(store, CASE.target, read_current(store, CASE.target).release_id).members[0]
    assert [(f.gate, f.verdict.value) for f in member.gates.findings] == [("imported", "advised")]
    roll_back(store, CASE.target, to="previous", by=Actor("tester", "a test"), now=lambda: NOW)
    assert read_release(store, CASE.target, read_current(store, CASE.target).release_id).data_through == "2025-12-31"


def test_a_day_proves_that_versions_are_equal_and_a_dry_run_writes_nothing(ours, theirs):
    done = call(ours, theirs, "--prove", CASE.case["day"], "--dry-run")
    assert (done.exception, done.return_value) == (None, 0)
    assert done.output.count(": equal") == len(OF_EVENTS)
    assert not (ours.parent / "store" / "registry" / "current").exists()


def test_a_difference_is_reported_by_kind_and_by_the_exit_code(ours, theirs):
    write(theirs / "local.json", json.dumps({"limits": CASE.case["limits"] | {"max_items_per_artifact": 1}}))
    done = call(ours, theirs, "--prove", CASE.case["day"], "--dry-run")
    assert done.return_value == 1
    assert "cooc" in done.output
    assert "truncates alphabetically" in done.output


def test_moving_in_again_changes_nothing_and_one_that_broke_off_goes_on(ours, theirs, tmp_path):
    whole = tmp_path / "whole"
    (theirs / ".out/registry/current/demo/home/manifest.json").rename(whole)
    call(ours, theirs)
    write(theirs / ".out/registry/current/demo/home/manifest.json", whole.read_text())
    again = call(ours, theirs)
    assert "moved in 0 of 2" in again.output
    assert len(list(changes(store_of(ours), CASE.target))) == len(DAYS)


def test_a_target_with_releases_of_our_own_is_refused(ours, theirs):
    call(ours, theirs)
    roll_back(store_of(ours), CASE.target, to="previous", by=Actor("tester", "a test"), now=lambda: NOW)
    assert isinstance(call(ours, theirs).exception, RefusedError)


def test_damage_in_their_registry_is_named_before_anything_is_written(ours, theirs):  # F13
    blob = next((theirs / ".out/objectstore/demo/home/popularity").iterdir())
    blob.write_text(blob.read_text().replace('"count": ', '"count": 1', 1))
    found = call(ours, theirs)
    assert isinstance(found.exception, CorruptObjectError)
    assert blob.name in str(found.exception)
    assert not (ours.parent / "store" / "registry" / "current").exists()
    blob.unlink()
    assert "put it there" in str(call(ours, theirs).exception)


@pytest.mark.slow
def test_a_bucket_is_moved_from_as_a_folder_is(ours, theirs, bucket):
    for file in (path for path in theirs.rglob("*") if path.is_file()):
        # What its records and its manifest name are still the files of the machine that it ran on.
        body = file.read_bytes().replace(theirs.as_uri().encode(), b"file:///gone")
        bucket.put(file.relative_to(theirs).as_posix(), body)
    assert isinstance(
        call(ours, f"{bucket.uri}/elsewhere", their_config=f"{bucket.uri}/local.json").exception, NotFoundError
    )
    assert isinstance(call(ours, bucket.uri, their_config=f"{bucket.uri}/none.json").exception, ConfigurationError)
    done = call(ours, bucket.uri, "--prove", CASE.case["day"], their_config=f"{bucket.uri}/local.json")
    assert (done.exception, done.return_value) == (None, 0)
    assert done.output.count(": equal") == len(OF_EVENTS)
    assert read_current(store_of(ours), CASE.target).versions == {k: CASE.case["versions"][k] for k in OF_EVENTS}
    roll_back(store_of(ours), CASE.target, to="previous", by=Actor("tester", "a test"), now=lambda: NOW)


def test_ids_of_users_do_not_move_in_where_they_are_hashed(ours, theirs, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "k" * 32)
    write(ours, CONFIG.replace("[partitions]", 'user_key = "env:SOME_KEY"\n[partitions]'))
    done = call(ours, theirs, "--prove", CASE.case["day"])
    assert (done.exception, done.return_value) == (None, 0)
    assert "excluded: kinds with a row per user" in done.output
    assert set(read_current(store_of(ours), CASE.target).versions) == {"popularity", "cooc"}


def test_a_folder_without_a_registry_is_named(ours, tmp_path):
    write(tmp_path / "empty" / "local.json", "{}")
    assert isinstance(call(ours, tmp_path / "empty").exception, NotFoundError)
