"""Bounds on answers and on calls of the store: pages, the artifact cache, series of metrics, redacted texts."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from recsys_assets.api import metrics
from recsys_assets.api.context import MAX_BYTES, ApiContext, ArtifactCache
from recsys_assets.api.metrics import RecentEntries, Scrapes, metrics_text
from recsys_assets.api.problems import HIDDEN, base_name, redact
from recsys_assets.api.routes import ACTIONS, ROUTES, describe
from recsys_assets.identity import rfc3339
from recsys_assets.release.journal import DONE, REFUSED, TEST, Actor, append, entry_of, tail
from recsys_assets.release.pointer import read_current
from recsys_assets.serving.served import ServedArtifact
from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers, ReleaseAnswers, write_heartbeat
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.serving.releases import TARGET

HOME = "/v1/targets/shop/home"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def walk(client, path, **query):
    pages = []
    while True:
        page = client.get(path, params=query).json()
        pages.append(page["items"])
        if page["next"] is None:
            return pages
        query["cursor"] = page["next"]


@pytest.mark.parametrize("limit", [1, 2, 5, 7, 100])
@pytest.mark.parametrize(("path", "name"), [(f"{HOME}/releases", "id"), (f"{HOME}/journal", "sequence")])
def test_pages_hold_every_item_once_and_no_more_than_asked(client, shop, limit, path, name):
    for n in range(3, 5):
        shop.ship(n)
    pages = walk(client, path, limit=limit)
    assert all(len(page) <= limit for page in pages)
    found = [item[name] for page in pages for item in page]
    assert found == [item[name] for item in walk(client, path, limit=100)[0]]
    assert len(set(found)) == len(found) == 5


def test_targets_come_in_pages_too(store, tmp_path, open_client):
    settings = settings_in(tmp_path, targets=[("shop", f"s{n}") for n in range(7)])
    pages = walk(open_client(store, settings=settings), "/v1/targets", limit=3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [row["surface"] for page in pages for row in page] == [f"s{n}" for n in range(7)]


def test_rows_come_in_pages(client, shop):
    release = shop.ship(4, popularity={f"i{n:03}": 1 for n in range(120)})
    at, start, found = f"/v1/artifacts/{release.refs['popularity'].version}/rows", 0, []
    while start is not None:
        page = client.get(at, params={"start": start, "limit": 50}).json()
        found += [row["item_id"] for row in page["rows"]]
        start = page["next"]
    assert found == [f"i{n:03}" for n in range(120)]
    assert client.get(at, params={"start": 10**9}).json()["rows"] == []


def test_a_version_that_could_lie_anywhere_needs_its_target_named(store, tmp_path, open_client, shop):
    release = shop.ship(0)
    settings = settings_in(tmp_path, targets=[("shop", "home"), *(("shop", f"s{n}") for n in range(120))])
    client = open_client(store, settings=settings)
    at = f"/v1/artifacts/{release.refs['cooc'].version}/metadata"
    assert client.get(at).status_code == 422
    assert client.get(at, params={"tenant": "shop", "surface": "home"}).status_code == 200


def artifact(version, size):
    return ServedArtifact("cooc", version, bytes(size), "", "", None)


def test_the_artifact_cache_evicts_what_was_asked_for_least_lately():
    kept, loads = ArtifactCache(max_bytes=25), []

    def take(version, size=10):
        return kept.take(version, lambda: loads.append(version) or artifact(version, size))

    for version in ("a", "b", "a", "c", "a", "b"):
        take(version)
    assert loads == ["a", "b", "c", "b"]
    take("large", 26)
    take("large", 26)
    assert loads[-2:] == ["large", "large"]
    assert MAX_BYTES > 10_000_000


def test_metrics_have_a_sample_for_each_target_and_none_for_what_is_unknown(store, releases, settings):
    assert releases
    lines = metrics_text(ApiContext(store, settings)).splitlines()
    assert 'recsys_target_live{surface="home",tenant="shop"} 1.0' in lines
    assert 'recsys_target_live{surface="cart",tenant="shop"} 0.0' in lines
    aged = [line for line in lines if line.startswith("recsys_target_data_age_days{")]
    assert len(aged) == 1
    assert "recsys_targets_left_out 0.0" in lines


def test_what_consumers_answered_shows_in_the_target_and_in_metrics(store, releases, settings, client):
    for n, asked in ((2, 40), (1, 90), (0, 50)):
        counts = {"cooc": KindAnswers(asked=asked, empty=n, short=1, unknown=3)}
        beat = Heartbeat(
            consumer=f"web-{n}",
            release=releases[n].id,
            state="fresh",
            seen_at=rfc3339(datetime.now(UTC)),
            every_seconds=60.0,
            nonce="",
            answers=(ReleaseAnswers(release=releases[n].id, kinds=counts),),
            failures={"outage": n, "denied": 1} if n else msgspec.UNSET,
            v=3 if n else 2,
        )
        write_heartbeat(store, TARGET, beat, expected=None)
    shown = client.get(HOME).json()["answers"]
    assert {(one["release"], one["asked"], one["empty"]) for one in shown} == {
        (releases[2].id, 40, 2),
        (releases[1].id, 90, 1),
        (releases[0].id, 50, 0),
    }
    lines = metrics_text(ApiContext(store, settings)).splitlines()
    labels = 'kind="cooc",release="{}",surface="home",tenant="shop"'
    for release, asked, without in (("live", 40.0, 5.0), ("before", 90.0, 4.0)):
        assert f"recsys_target_questions{{{labels.format(release)}}} {asked}" in lines
        assert f"recsys_target_questions_without_items{{{labels.format(release)}}} {without}" in lines
    assert sum(line.startswith("recsys_target_short_answers{") for line in lines) == 2
    for problem, count in (("outage", 3.0), ("denied", 2.0)):
        problems = f'problem="{problem}",surface="home",tenant="shop"'
        assert f"recsys_target_refresh_failures{{{problems}}} {count}" in lines


IMPORT = '[imports.scores]\npath = "drop/{day}.jsonl"\nformat = "jsonl"\ntargets = ["shop/home"]\n'


def test_tests_of_files_are_counted_by_whom_and_each_entry_is_read_once(store, releases, tmp_path):
    assert releases
    context = ApiContext(store, settings_in(tmp_path, more=IMPORT), now=lambda: NOW)

    def tested(actor, *, passed, at=NOW):
        entry = entry_of(
            action=TEST,
            outcome=DONE if passed else REFUSED,
            by=Actor(actor, ""),
            now=at,
            live=read_current(store, TARGET),
            message="",
            details={"kind": "scores"},
        )
        append(store, TARGET, entry, after=tail(store, TARGET))

    tested("long ago", passed=True, at=NOW - timedelta(days=8))
    tested("ann@host-1", passed=True)
    tested("ann@host-2", passed=True)
    tested("ben", passed=False)
    scrapes = Scrapes(kept_seconds=0)
    text = scrapes.text(context)
    labels = 'actor="{}",kind="scores",outcome="{}",surface="home",tenant="shop"'
    for actor, outcome, count in (("ann", "passed", 2.0), ("ann", "refused", 0.0), ("ben", "refused", 1.0)):
        assert f"recsys_target_tests{{{labels.format(actor, outcome)}}} {count}\n" in text
    assert "long ago" not in text
    last = 'recsys_target_last_test{{kind="scores",outcome="{}",surface="home",tenant="shop"}} {}'
    assert last.format("refused", 1.0) in text
    assert last.format("passed", 0.0) in text
    entries, read = RecentEntries(), []
    entries.of(store, TARGET, now=NOW)
    tested("cleo", passed=True)
    store.on_call = lambda verb, key: read.append(key[-7:-5]) if verb == "get" else None
    assert [one.actor for one in entries.of(store, TARGET, now=NOW)] == ["cleo", "ben", "ann@host-2", "ann@host-1"]
    store.on_call = None
    newest = tail(store, TARGET).sequence
    assert set(read) <= {f"{newest:02}", f"{newest - 1:02}"}, "what is known is not read again"


def test_metrics_of_many_targets_are_cut_and_say_so(store, tmp_path):
    many = metrics.MAX_TARGETS + 5
    settings = settings_in(tmp_path, targets=[("shop", f"s{n}") for n in range(many)])
    text = metrics_text(ApiContext(store, settings))
    assert text.count("recsys_target_live{") == metrics.MAX_TARGETS
    assert "recsys_targets_left_out 5.0\n" in text


def test_many_scrapes_ask_the_store_once(store, releases, settings, shop):
    scrapes, context = Scrapes(kept_seconds=1000), ApiContext(store, settings)
    before = scrapes.text(context)
    shop.ship(9)
    assert scrapes.text(context) == before
    assert Scrapes(kept_seconds=0).text(context) != before
    assert releases


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("s3://bucket/a/b: denied", f"{HIDDEN} denied", id="bucket"),
        pytest.param("[Errno 2] no file: '/srv/data/x.json'", f"[Errno 2] no file: '{HIDDEN}'", id="folder"),
        pytest.param('to "http://10.0.0.1:9000/b", again', f'to "{HIDDEN}", again', id="endpoint"),
        pytest.param("registry/current/a/b/manifest.json is no Pointer", f"{HIDDEN} is no Pointer", id="key"),
        pytest.param("arn:aws:s3:::bucket/x refused", f"{HIDDEN} refused", id="arn"),
        pytest.param(
            "build of 2026-01-02 by ada@host, 3/4 done", "build of 2026-01-02 by ada@host, 3/4 done", id="words"
        ),
        pytest.param("shop/home: held", "shop/home: held", id="target"),
    ],
)
def test_texts_lose_the_places_that_they_name(text, message):
    assert redact(text) == message


@pytest.mark.parametrize(
    ("name", "last"), [("/a/b/c.jsonl", "c.jsonl"), ("s3://b/c.gz", "c.gz"), ("C:\\x\\y", "y"), ("z", "z")]
)
def test_files_are_called_without_their_folder(name, last):
    assert base_name(name) == last


def test_the_description_names_every_route_and_action(client):
    message = client.get("/openapi.json").json()
    assert message == json.loads(msgspec.json.encode(describe(ACTIONS)))
    described = {(method, path) for path, methods in message["paths"].items() for method in methods}
    assert {("get", route.path) for route in ROUTES} < described
    assert {(action.method.lower(), action.path) for action in ACTIONS} < described
    ids = [one["operationId"] for methods in message["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)
