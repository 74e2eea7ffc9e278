"""Kinds that are off by default, and one of another package: run, gated, shipped, looked up, forgotten, by commands."""

import json

import pytest
from click.testing import CliRunner

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import NotFoundError
from recsys_assets.release.staged import find_report_together
from recsys_assets.serving.reader import Reader
from recsys_assets_tests.api.conftest import Client
from recsys_assets_tests.kinds.test_installed_kinds import GOOD, install  # noqa: F401 - a fixture
from recsys_assets_tests.release.staging import stored_report
from recsys_assets_tests.small_shop import HOME, after, day_lines, open_shop

KINDS = ("popularity", "item_seq", "als_factors", "trending")
CONFIG = f"""
[artifacts]
window_days = 1
kinds = {json.dumps(KINDS)}
[artifacts.item_seq]
min_support = 1
[artifacts.als_factors]
factors = 4
[gates.drift.kinds.als_factors]
required = ["drift_items"]
max_items_factor = 2
[gates.drift.kinds.trending]
required = ["drift_overlap"]
[gates.rehearsal.kinds.als_factors]
max_empty_share = 0.5
"""
ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
TARGET = ("--tenant", "shop", "--surface", "home")


@pytest.fixture
def shop(tmp_path, install, monkeypatch):  # noqa: F811 - the fixture
    install(GOOD)
    (tmp_path / "shop").mkdir()
    opened = open_shop(tmp_path / "shop")
    opened.configure(CONFIG, targets=ONE)
    for n in range(2):
        opened.write(after(n), day_lines(after(n), targets=[HOME], shift=n))
    monkeypatch.setenv("RECSYS_CONFIG", str(opened.folder / "recsys.toml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return opened


def call(*arguments, code=0):
    done = CliRunner().invoke(recsys_assets, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    assert (done.return_value or 0) == code, done.output
    return " ".join(done.output.split())


def judged(shop, day, subject):
    if subject == "rehearsal":
        report = find_report_together(shop.store, HOME, day, subject)
    else:
        report = stored_report(shop.store, HOME, day, subject)
    return {finding.gate: finding for finding in report.findings}


@pytest.mark.slow
def test_they_are_run_gated_shipped_served_and_forgotten_like_the_others(shop):
    message = call("run", *TARGET, "--start", str(after(0)), "--end", str(after(1)), code=1)
    first = shop.live()
    assert set(first.versions) == set(KINDS)
    assert first.versions["als_factors"].endswith(".safetensors")

    # The kind of another package has its own required gate: its only item is another one than live's.
    assert "trending gates" in message
    assert "gate drift_overlap refused" in call("log", *TARGET)
    call("ship", *TARGET, "--day", str(after(1)), "--override", "drift_overlap", "--reason", "another item trends")
    live = shop.live()
    assert live.release_id != first.release_id

    # Gates: all have a baseline on the second day, and the rehearsal asked for users and items.
    for kind in KINDS:
        gates = judged(shop, after(1), kind)
        assert gates["drift_rows"].params["live_release"] == first.release_id, kind
        assert gates["contract"].ok
    assert "als_factors 0.1111 of at most 0.5" in judged(shop, after(1), "rehearsal")["rehearsal_empty"].message
    assert "trending 0 of at most" in judged(shop, after(1), "rehearsal")["rehearsal_empty"].message

    with Reader(shop.store, "shop", "home") as reader, reader.snapshot() as release:
        assert [item.item_id for item in release.next_items("i2")] == ["i3"]
        factors = release.factors()
        assert {name: array.shape for name, array in release.arrays("als_factors").items()}["user_factors"] == (3, 4)
        assert {item.item_id for item in factors.for_user("u1", 9)} == {"i2", "i3", "i4"}
        assert len(list(release.rows("trending"))) == 1
        with pytest.raises(NotFoundError, match="has no session_seq"):
            release.next_for_user("u1")

    client = Client(make_application(ApiContext(shop.store, shop.settings)))
    rows = client.get(f"/v1/artifacts/{live.versions['item_seq']}/rows", params={"id": "i2"}).json()["rows"]
    assert rows == [{"item_id": "i2", "items": [{"item_id": "i3", "count": 6}]}]
    content = client.get(f"/v1/artifacts/{live.versions['als_factors']}/content")
    assert content.headers["content-type"] == "application/octet-stream"
    assert b"user_factors" in content.content
    assert client.get(f"/v1/artifacts/{live.versions['als_factors']}/rows").status_code == 422
    assert "drift_items" in call("report", *TARGET)

    # The same events are the same bytes, so that a second run changes nothing.
    call("run", *TARGET, "--start", str(after(1)))
    assert shop.live().release_id == live.release_id

    # Far fewer items than live: refused by its own required drift gate, and what is live stays live.
    shop.write(after(2), [line for line in day_lines(after(2), targets=[HOME]) if '"i1"' in line])
    call("run", *TARGET, "--start", str(after(2)), code=1)
    assert not judged(shop, after(2), "als_factors")["drift_items"].ok
    assert shop.live().release_id == live.release_id

    asked = ("forget", "--user", "u1", "--reason", "asked for it", "--actor", "ada", "--json")
    message = json.loads(call(*asked, code=1))  # releases that are kept hold the user still
    (home,) = message["targets"]
    assert not home["live_holds"]
    # Found in the ids of the vectors: no other kind of these has users.
    assert set(home["still_in"]) == {first.release_id, live.release_id}
    with Reader(shop.store, "shop", "home") as reader, reader.snapshot() as release:
        assert release.factors().for_user("u1") is None
        assert release.factors().for_user("u3") is not None
    message = json.loads(call("forget", "--user", "3", "--reason", "nobody", "--json"))
    assert message["targets"][0]["still_in"] == []  # the bytes of u3 hold it, its ids do not
