"""What the reference service does with our objects (its reading rules, line by line): written from its description."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recsys_assets.artifacts.kinds import KINDS, read_params
from recsys_assets.config import parse_settings
from recsys_assets.gates.policy import artifact_policy
from recsys_assets.identity import Target
from recsys_assets.manifest.collect import collect
from recsys_assets.manifest.journal import Actor
from recsys_assets.manifest.layout import pointer_key
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.serving.releases import Clock, Shop, rows_of

MAX_BYTES = 10_000_000
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def shop(tmp_path):
    return Shop(FilesystemStore(tmp_path / "store"))


def get(shop, uri):
    """Fetch as the service does: the path of a file URI, below the store's root."""
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
    root = urlsplit(shop.store.root_uri).path
    assert parts.path.startswith(root + "/")
    return shop.store.get(parts.path[len(root) + 1 :], max_bytes=MAX_BYTES).data


def manifest(shop):
    return shop.store.get(pointer_key(shop.target), max_bytes=MAX_BYTES).data


def artifacts(shop):
    return {kind: json.loads(get(shop, uri)) for kind, uri in json.loads(manifest(shop))["current"].items()}


def test_the_manifest_is_plain_json_of_five_keys(shop):
    shop.ship(1)
    data = manifest(shop)
    document = json.loads(data)
    assert list(document) == ["v", "tenant", "surface", "current", "updated_at"]
    assert (document["v"], document["tenant"], document["surface"]) == (1, "shop", "home")
    assert not data.startswith(b"\xef\xbb\xbf")
    assert datetime.fromisoformat(document["updated_at"]).tzinfo is not None
    assert document["updated_at"].endswith("Z")


@pytest.mark.parametrize("name", ["shop", "Läden", "a b", "店", "a<b>&"])
def test_names_equal_byte_for_byte_what_requests_carry(tmp_path, name):
    shop = Shop(FilesystemStore(tmp_path / "store"), Target(name, name))
    shop.ship(1)
    assert (json.loads(manifest(shop))["tenant"], json.loads(manifest(shop))["surface"]) == (name, name)
    for document in artifacts(shop).values():
        assert (document["tenant"], document["surface"]) == (name, name)


def test_an_envelope_has_what_is_else_refused_with_422(shop):
    shop.ship(1)
    for kind, document in artifacts(shop).items():
        assert document["v"] == 1
        assert document["artifact_type"] == kind
        assert document["tenant"]
        assert set(document["window"]) == {"start", "end"}
        assert all(INSTANT.fullmatch(instant) for instant in document["window"].values())  # a bare date is refused


def test_counts_are_integers_and_scores_positive_numbers(shop):
    shop.ship(1, implicit={"user": {"a": 1.0, "b": 0.5}}, popularity={"a": 2.0, "b": 1})
    data = b"".join(get(shop, uri) for uri in json.loads(manifest(shop))["current"].values())
    assert re.findall(rb'"count":(?![0-9]+[,}])', data) == []
    scores = [float(score) for score in re.findall(rb'"score":([^,}]+)', data)]
    assert scores
    assert min(scores) > 0
    assert not re.search(rb"NaN|Infinity|null", data)


def test_what_the_service_sorts_in_place_is_sorted_already(shop):
    shop.ship(1, popularity={"b": 2, "a": 2, "c": 9}, cooc={"x": {"b": 2, "a": 2, "c": 9}})
    found = artifacts(shop)
    (neighbors,) = [row["items"] for row in found["cooc"]["neighbors"]]
    for items in (found["popularity"]["items"], neighbors):
        assert items == sorted(items, key=lambda row: (-row["count"], row["item_id"]))


def test_no_id_has_two_rows(shop):
    shop.ship(1)
    for document in artifacts(shop).values():
        body = next(value for value in document.values() if isinstance(value, list))
        ids = [row.get("item_id", row.get("user_id")) for row in body]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("kind", "gate", "limits"),
    [
        pytest.param("popularity", "not_empty", {"min_rows": 1}, id="an empty popularity, which falls back"),
        *(pytest.param(kind, "size", {"max_bytes": MAX_BYTES}, id=f"a {kind} too big is a 500") for kind in KINDS),
    ],
)
def test_what_the_service_cannot_answer_from_is_refused_by_default(kind, gate, limits):
    settings = parse_settings(b'[[targets]]\ntenant = "shop"\nsurface = "home"\n', name="defaults", base=Path("/"))
    row = settings.find("shop", "home")
    assert artifact_policy(settings, row, kind, read_params(settings, row, kind)).gates[gate] == limits


def test_lists_are_never_null(shop):
    shop.ship(1, session_seq={"idle": {}})
    assert artifacts(shop)["session_seq"]["users"] == [{"user_id": "idle", "items": []}]


def test_a_cached_manifest_finds_its_blobs_after_the_next_was_shipped_and_collected(shop):
    """Both caches live for a minute: what was superseded stays readable for longer."""
    shop.ship(1)
    cached = json.loads(manifest(shop))
    shop.ship(2)
    now = shop.clock.at + timedelta(minutes=3)
    collect(shop.store, shop.target, by=Actor("cron", "daily"), now=Clock(now), apply=True)
    for uri in cached["current"].values():
        assert json.loads(get(shop, uri))["v"] == 1


def test_a_uri_never_changes_its_content(shop):
    shop.ship(1)
    before = {uri: get(shop, uri) for uri in json.loads(manifest(shop))["current"].values()}
    shop.ship(2)
    shop.ship(1)
    assert {uri: get(shop, uri) for uri in before} == before


def test_the_time_of_the_manifest_is_that_of_its_swap(shop):
    shop.clock = Clock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    shop.ship(1)
    assert json.loads(manifest(shop))["updated_at"] == "2026-05-01T12:00:00Z"


def test_a_fixture_fits_the_service(shop):
    shop.ship(1)
    assert rows_of(1).keys() == artifacts(shop).keys()
    assert max(len(get(shop, uri)) for uri in json.loads(manifest(shop))["current"].values()) <= MAX_BYTES
