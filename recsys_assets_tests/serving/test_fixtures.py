"""Fixtures are what the pipeline ships: same bytes as the real codec, same refusals as in earnest."""

import hashlib
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from recsys_assets.artifact_format import ZEROED_BUILD
from recsys_assets.encoding.codec import encode
from recsys_assets.encoding.rows import Rows
from recsys_assets.errors import ConfigurationError, NotFoundError
from recsys_assets.identity import Target, Window
from recsys_assets.release.shards import read_blob
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.serving.served import FORMS, prove
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.serving.releases import TARGET, rows_of

NASTY = sorted(['"', "\\", "<&>", "\u2028", "\n", "\x01", "é", "😀", "/"])
FIXTURES = {
    "popularity": dict.fromkeys(NASTY, 3),
    "cooc": {item: dict.fromkeys(NASTY, 2) for item in NASTY},
    "implicit": {user: dict.fromkeys(NASTY, 1) for user in NASTY},
    "session_seq": {user: dict.fromkeys(NASTY, 1) for user in NASTY},
    "content_sim": dict.fromkeys(NASTY, NASTY),
    "item_seq": {item: dict.fromkeys(NASTY, 2) for item in NASTY},
    "sequential_rules": {item: dict.fromkeys(NASTY, 2) for item in NASTY},
}


def rows(kind):
    """The same rows as `FIXTURES`, as kernels return them: every list holds every id, in order."""
    shape, count = ROW_KINDS[kind].shape, len(NASTY)
    lists = count if shape.key else 1
    value = {"popularity": 3, "cooc": 2, "item_seq": 2, "sequential_rules": 2}.get(kind, 1) * shape.scale
    return Rows(
        shape=shape,
        keys=np.arange(lists if shape.key else 0, dtype=np.uint32),
        offsets=np.arange(lists + 1, dtype=np.int64) * count,
        members=np.tile(np.arange(count, dtype=np.uint32), lists),
        values=np.full(lists * count, value if shape.value else 0, np.int64),
        key_ids=pl.Series(NASTY),
        member_ids=pl.Series(NASTY),
    )


@pytest.mark.parametrize("kind", FORMS)
def test_a_fixture_has_the_bytes_that_the_codec_writes(store, kind):
    outcome = publish_fixture(store, "shop", "home", {kind: FIXTURES[kind]})
    ref = outcome.release.refs[kind]
    blob = encode(rows(kind), kind=kind, target=TARGET, window=Window(DAY, DAY), max_bytes=10**6)
    assert read_blob(store, TARGET, ref) == blob.data
    assert ref == blob.ref


@pytest.mark.parametrize("kind", FORMS)
def test_lookups_know_the_form_that_the_pipeline_writes(kind):
    shape, form = ROW_KINDS[kind].shape, FORMS[kind]
    assert (form.body, form.key) == (shape.body, shape.key or shape.member)


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_a_kind_that_serving_does_not_know_can_be_looked_up_by_the_shape_of_its_rows(kind):
    known, other = (
        encode(rows(kind), kind=name, target=TARGET, window=Window(DAY, DAY), max_bytes=10**6)
        for name in (kind, "sixth")
    )
    expected = prove(TARGET, kind, known.ref.version, known.data, name=kind).rows
    found = prove(TARGET, "sixth", other.ref.version, other.data, name="sixth").rows
    assert list(found) == list(expected) != []
    first = expected.form.id_of(expected.row(0))
    assert found.find(first) == expected.find(first)


def test_a_kind_of_no_known_shape_is_served_as_bytes():
    known = encode(rows("popularity"), kind="sixth", target=TARGET, window=Window(DAY, DAY), max_bytes=10**6)
    head = known.data[: known.data.rindex(b',"build":')].replace(b'"count":', b'"heat":')
    version = hashlib.sha256(head + ZEROED_BUILD).hexdigest()
    data = head + known.data[known.data.rindex(b',"build":') :].replace(known.ref.version.encode(), version.encode())
    artifact = prove(TARGET, "sixth", version, data, name="sixth")
    assert artifact.rows is None
    with pytest.raises(NotFoundError, match="has no sixth"):
        Snapshot(TARGET, "0" * 64, datetime(2026, 1, 1, tzinfo=UTC), {"sixth": artifact}).rows("sixth")


def test_a_fixture_proves_itself(store):
    assert publish_fixture(store, "shop", "home", rows_of(1)).how is Ruling.SHIP
    assert verify(store, Target("shop", "home")).ok


def test_the_same_fixture_again_changes_nothing(store):
    publish_fixture(store, "shop", "home", rows_of(1))
    assert publish_fixture(store, "shop", "home", rows_of(1)).how is Ruling.UNCHANGED


def test_a_fixture_of_an_older_day_does_not_ship(store):
    publish_fixture(store, "shop", "home", rows_of(1), day=date(2026, 2, 1))
    assert publish_fixture(store, "shop", "home", rows_of(2), day=date(2026, 1, 1)).how is Ruling.OLDER


def test_a_fixture_of_an_unknown_kind_names_the_known(store):
    with pytest.raises(ConfigurationError, match="expected one of popularity, cooc"):
        publish_fixture(store, "shop", "home", {"trending": {"a": 1}})


def test_a_fixture_is_live_since_the_time_it_is_given(store):
    now = datetime(2026, 5, 1, tzinfo=UTC)
    outcome = publish_fixture(store, "shop", "home", rows_of(1), now=lambda: now)
    assert outcome.entry.pointer_at == "2026-05-01T00:00:00Z"
