"""Answers of the API about targets, releases, their past and their lineage, over real releases."""

import re

import pytest

from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import release_key
from recsys_assets_tests.serving.releases import TARGET

HOME = "/v1/targets/shop/home"


def get(client, path, **query):
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_targets_report_what_is_live_and_what_is_not(client, releases):
    home, cart = get(client, "/v1/targets")["items"]
    assert (home["tenant"], home["surface"], home["release"]) == ("shop", "home", releases[2].id)
    assert home["versions"] == {kind: ref.version for kind, ref in releases[2].refs.items()}
    assert home["data_through"] == "2026-01-03"
    assert (cart["release"], cart["data_age_days"], cart["hold"]) == (None, None, None)


def test_one_target_is_what_the_list_says_of_it(client):
    assert get(client, HOME) == get(client, "/v1/targets")["items"][0]


def test_freshness_names_the_cause(client):
    message = get(client, f"{HOME}/freshness")
    assert (message["fresh"], message["data_through"]) == (False, "2026-01-03")
    assert message["cause"] == "input_missing"


def test_stats_count_what_is_stored(client, releases):
    message = get(client, f"{HOME}/stats")
    assert (message["releases"], message["journal_entries"], message["complete"]) == (3, 3, True)
    sizes = {row["kind"]: (row["objects"], row["bytes"]) for row in message["artifacts"]}
    assert sizes["cooc"] == (3, sum(release.refs["cooc"].size for release in releases))


def test_releases_say_which_is_live_and_never_hold_content(client, releases):
    rows = get(client, f"{HOME}/releases")["items"]
    assert {row["id"] for row in rows} == {release.id for release in releases}
    assert [row["id"] for row in rows if row["live"]] == [releases[2].id]
    assert "item 2" not in client.get(f"{HOME}/releases").text


@pytest.mark.parametrize("name", ["live", "whole", "short"])
def test_a_release_is_found_by_id_by_its_first_digits_and_as_live(client, releases, name):
    last = releases[2].id
    found = get(client, f"{HOME}/releases/{ {'live': 'live', 'whole': last, 'short': last[:8]}[name] }")
    assert (found["id"], found["live"], found["parent"]) == (last, True, releases[1].id)
    assert {one["kind"]: one["version"] for one in found["artifacts"]} == {
        kind: ref.version for kind, ref in releases[2].refs.items()
    }
    assert all(one["passed"] and one["stored"] and one["gates"]["findings"] for one in found["artifacts"])
    assert [(day["day"], day["passed"]) for day in found["days"]] == [("2026-01-03", True)]


def levels(node):
    yield node["level"], node["label"]
    for child in node["children"]:
        yield from levels(child)


@pytest.mark.parametrize("depth", range(5))
def test_a_tree_goes_as_deep_as_asked_with_a_label_for_each_level(client, depth):
    named = ["target", "release", "artifact", "canonical day", "raw file"]
    tree = get(client, f"{HOME}/tree", depth=depth)
    assert set(levels(tree)) == set(enumerate(named[: depth + 1]))
    if depth == 0:
        assert tree["left_out"] == 1


def test_the_tree_of_a_target_without_a_release_is_the_target(client):
    tree = get(client, "/v1/targets/shop/cart/tree", depth=4)
    assert (tree["id"], tree["children"], tree["left_out"]) == ("shop/cart", [], 0)


def test_a_diff_names_what_enters_and_leaves(client, releases):
    found = get(client, f"{HOME}/diff", before=releases[0].id, after="live")
    kinds = {kind["kind"]: kind for kind in found["kinds"]}
    assert (found["before"], found["after"]) == (releases[0].id, releases[2].id)
    assert (kinds["popularity"]["entered"], kinds["popularity"]["left"]) == (["item 2"], ["item 0"])


def test_at_reports_what_was_live_then(client, releases):
    entries = get(client, f"{HOME}/journal")["items"]
    second = next(entry for entry in entries if entry["after"] == releases[1].id)
    assert get(client, f"{HOME}/at", time=second["pointer_at"])["release"] == releases[1].id
    assert client.get(f"{HOME}/at", params={"time": "2020-01-01T00:00:00Z"}).status_code == 404


def test_the_journal_comes_newest_first(client, releases):
    entries = get(client, f"{HOME}/journal")["items"]
    assert [entry["sequence"] for entry in entries] == [3, 2, 1]
    assert [entry["after"] for entry in entries] == [release.id for release in reversed(releases)]


def test_metadata_rows_and_lineage_of_an_artifact_are_found_by_its_version(client, releases):
    version = releases[1].refs["cooc"].version
    at = f"/v1/artifacts/{version}"
    message = get(client, f"{at}/metadata")
    assert (message["kind"], message["label"], message["rows"]) == ("cooc", "artifact", 1)
    assert message["bytes"] == releases[1].refs["cooc"].size
    assert get(client, f"{at}/usedby")["items"][0]["release"] == releases[1].id
    expanded = get(client, f"{at}/expand")
    assert (expanded["artifact"], expanded["release"]) == (message, releases[1].id)
    assert expanded["evidence"]["version"] == version
    assert set(levels(get(client, f"{at}/tree", depth=4))) == {(2, "artifact"), (3, "canonical day"), (4, "raw file")}
    assert get(client, f"{at}/rows")["rows"] == [{"item_id": "item", "items": [{"item_id": "item 1", "count": 3}]}]


def test_a_row_is_found_by_its_id_and_one_that_is_not_there_is_no_error(client, releases):
    at = f"/v1/artifacts/{releases[2].refs['implicit'].version}/rows"
    assert [row["user_id"] for row in get(client, at, id="user")["rows"]] == ["user"]
    assert get(client, at, id="nobody")["rows"] == []


def test_a_day_of_input_reports_the_releases_that_rest_on_it(client, releases):
    used = get(client, f"{HOME}/days/2026-01-02/usedby")["items"]
    assert [row["release"] for row in used] == [releases[1].id]
    assert sorted(used[0]["kinds"]) == sorted(releases[1].refs)
    assert get(client, f"{HOME}/days/2031-01-02/usedby") == {"items": [], "next": None}


def test_who_names_the_target_is_answered_the_same(client, releases):
    at = f"/v1/artifacts/{releases[0].refs['popularity'].version}/metadata"
    assert get(client, at) == get(client, at, tenant="shop", surface="home", kind="popularity")
    assert client.get(at, params={"tenant": "shop", "surface": "cart"}).status_code == 404
    assert client.get(at, params={"tenant": "shop"}).status_code == 422


def test_inputs_are_named_without_their_folders(client):
    text = client.get(f"{HOME}/releases/live").text
    assert "canonical/" not in text
    assert '"name":"2026-01-03"' in text


def test_a_hold_is_shown(client, shop, store):

    place_hold(store, TARGET, by=Actor("ada", "prices are wrong"), now=shop.clock)
    assert get(client, HOME)["hold"]["reason"] == "prices are wrong"
    assert get(client, f"{HOME}/journal", limit=1)["items"][0]["action"] == "hold"


def test_the_report_reports_what_a_release_changed_and_names_no_place(client, releases):
    answer = client.get(f"{HOME}/releases/live/report")
    message = {section["title"]: section["message"] for section in answer.json()["sections"]}
    assert "1 item entered the top list, 1 item left it" in " ".join(message["What changed"])
    assert dict(answer.json()["facts"])["live before it"] == releases[1].id[:12]
    assert not re.search(r"canonical/|file://|memory://", answer.text)


def test_a_report_of_damaged_records_still_names_no_place(client, store, releases):
    store.delete(release_key(TARGET, releases[1].id))
    (message,) = client.get(f"{HOME}/releases/live/report").json()["sections"][0]["message"]
    assert "can no longer be compared" in message
    assert "releases/" not in message
