"""The console: states of targets, order and search, pictures of the past, and answers of releases side by side."""

import re
import threading
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from recsys_assets.api.drawings import draw_report
from recsys_assets.api.overview import Overview, TargetSummaries
from recsys_assets.api.wording import ago, brief, distance, limits
from recsys_assets.errors import StoreUnavailableError
from recsys_assets.evidence import Finding, GateReport, Verdict
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import REFUSED, Actor, append, entry_of, tail
from recsys_assets.release.layout import blob_key, release_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.release.staging import put_report_of_day
from recsys_assets_tests.serving.releases import TARGET, rows_of

HOME = "/targets/shop/home"
ADA = Actor("ada", "prices are wrong")
NOW = datetime(2026, 1, 4, 4, tzinfo=UTC)  # four hours after the last of the three days ended


def state_of(text, name):
    """Return the state that the overview shows of a target."""
    row = text[text.index(f">{name}</a>") :]
    return re.search(r'class="mark \w+">([\w ]+)<', row)[1]


def names_in(text):
    return re.findall(r'<th scope="row"><a href="/targets/[^"]+">([^<]+)</a>', text)


@pytest.fixture
def releases(shop):
    """Three releases of shop/home, recorded when their data was fresh."""
    shop.clock.at = NOW - timedelta(hours=1)
    return [shop.ship(n) for n in range(3)]


@pytest.fixture
def young(store, releases, open_client):
    """A client at a time at which the data of shop/home is fresh."""
    assert releases
    return open_client(store, now=lambda: NOW)


def refuse(store, shop, *, day="2026-01-03"):
    entry = entry_of(
        action="ship",
        outcome=REFUSED,
        by=ADA,
        now=shop.clock(),
        live=read_current(store, TARGET),
        message="too few events",
        details={"day": day},
    )
    append(store, TARGET, entry, after=tail(store, TARGET))


def place(store, shop):
    place_hold(store, TARGET, by=ADA, now=shop.clock)


def break_blob(store, _):
    release = read_current(store, TARGET)
    store.delete(blob_key(TARGET, "cooc", release.versions["cooc"]))


@pytest.mark.parametrize(
    ("happened", "state"),
    [
        pytest.param(lambda *_: None, "fresh", id="fresh"),
        pytest.param(refuse, "refused", id="refused"),
        pytest.param(place, "held", id="held"),
        pytest.param(break_blob, "problem", id="a blob is missing"),
    ],
)
def test_the_overview_shows_the_state_of_a_target(store, shop, young, happened, state):
    happened(store, shop)
    text = young.get("/").text
    assert state_of(text, "shop/home") == state
    assert {"refused": "too few events", "held": "held by ada: prices are wrong", "fresh": "no data"}.get(
        state, ""
    ) in text
    assert state_of(text, "shop/cart") == "no data"


def test_a_stale_target_names_its_cause_and_age(client):
    text = client.get("/").text
    assert state_of(text, "shop/home") == "stale"
    assert "has no raw file" in text
    assert re.search(r'title="2026-01-04 00:00:00 UTC">\d+ days ago</time>', text)


@pytest.fixture
def many(tmp_path):
    """Seven targets: two fresh, three without data, and two with old data."""
    targets = [(f"t{n}", "home") for n in range(7)]
    store = MemoryStore()
    for n, day in ((1, 2), (4, 2), (2, 0), (5, 0)):
        publish_fixture(store, f"t{n}", "home", rows_of(n), day=date(2026, 1, 1) + timedelta(days=day), now=lambda: NOW)
    return store, settings_in(tmp_path, targets=targets)


def test_the_worst_come_first_and_pages_hold_them_all(many, open_client):
    store, settings = many
    client = open_client(store, settings=settings, now=lambda: NOW)
    first = client.get("/", params={"limit": 3})
    assert names_in(first.text) == ["t2/home", "t5/home", "t0/home"]
    following = re.search(r'href="(/\?[^"]*cursor=3[^"]*)"', first.text)[1].replace("&amp;", "&")
    assert names_in(client.get(following).text) == ["t3/home", "t6/home", "t1/home"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"q": "T4"}, ["t4/home"]),
        ({"health": "fresh"}, ["t1/home", "t4/home"]),
        ({"health": "stale", "q": ""}, ["t2/home", "t5/home"]),
        ({"sort": "name", "limit": 2}, ["t0/home", "t1/home"]),
        ({"sort": "age", "limit": 4}, ["t0/home", "t3/home", "t6/home", "t2/home"]),
        ({"q": "nothing"}, []),
    ],
)
def test_targets_are_searched_filtered_and_sorted(many, open_client, query, names):
    store, settings = many
    assert names_in(open_client(store, settings=settings, now=lambda: NOW).get("/", params=query).text) == names


def test_a_page_of_the_overview_stays_small(tmp_path, open_client):
    settings = settings_in(tmp_path, targets=[(f"t{n:04}", "home") for n in range(1000)])
    answer = open_client(MemoryStore(), settings=settings).get("/")
    assert len(names_in(answer.text)) == 50
    assert "1,000 no data" in answer.text
    assert len(answer.content) < 100_000


def test_a_page_for_a_wall_loads_itself_again(client):
    assert "refresh" not in client.get("/").headers
    assert client.get("/", params={"refresh": 60}).headers["refresh"] == "60"
    assert client.get("/", params={"refresh": 1}).status_code == 422


def test_the_overview_is_kept_warm_and_looks_again_after_a_store_that_did_not_answer():
    stop, looks = threading.Event(), []

    def take():
        looks.append(1)
        if len(looks) == 1:
            stop.set()
            raise StoreUnavailableError("down")
        return TargetSummaries((), NOW)

    overview = Overview()
    overview.keep_warm(take, looks.append, stop)
    stop.clear()
    overview.keep_warm(take, lambda look: (looks.append(look), stop.set()), stop)
    assert looks[:2] == [1, 1]
    overview.spent_seconds = 60.0
    assert overview.look(lambda: pytest.fail("it was warm")) is looks[2]


def test_a_look_that_cost_nothing_is_taken_again_and_a_long_one_is_kept():
    taken = []

    def take():
        taken.append(1)
        return TargetSummaries((), NOW)

    overview = Overview()
    overview.look(take)
    overview.spent_seconds = 0.0
    overview.look(take)
    assert len(taken) == 2
    overview.spent_seconds = 60.0
    overview.look(take)
    assert len(taken) == 2


def test_the_rows_of_releases_are_a_line(young):
    text = young.get("/").text
    assert 'aria-label="rows, 3 days to 2026-01-03: 7 to 7, last 7"' in text
    assert len(re.search(r'<polyline points="([^"]+)"', text)[1].split()) == 3


def test_the_timeline_shows_releases_rollbacks_refusals_and_holds(store, shop, young):
    roll_back(store, TARGET, to="previous", by=ADA, now=shop.clock)
    release_hold(store, TARGET, by=ADA, now=shop.clock)
    refuse(store, shop)
    place_hold(store, TARGET, by=ADA, now=shop.clock)
    text = young.get(HOME).text
    picture = text[text.index("<svg") : text.index("</svg>")]
    marks = re.findall(r'<g class="(\w+)"', picture)
    assert marks == ["release", "release", "release", "rollback", "hold", "refusal", "hold"]
    assert len(re.findall(r'<rect class="held"', picture)) == 2
    assert re.findall(r"<text[^>]*>(2026-\d\d-\d\d)</text>", picture) == ["2026-01-01", "2026-01-03"]
    heights = re.findall(r'transform="translate\([\d.]+ ([\d.]+)\)"', picture)
    assert heights[3] == heights[1] != heights[2]  # the rollback is where the release before the last was


def test_a_release_that_cannot_be_read_leaves_the_timeline(store, releases, young):
    store.delete(release_key(TARGET, releases[0].id))
    answer = young.get(HOME)
    assert answer.status_code == 200
    assert answer.text.count('<g class="release"') == 4  # three entries and the legend


def test_gates_are_shown_with_value_limit_and_verdict(young):
    text = young.get(HOME).text
    gates = text[text.index("Gates of the live release") :]
    assert re.search(
        r'>fixture</th><td data-label="Verdict" class="fixed"><span class="mark good">passed</span>', gates
    )
    assert 'data-label="Value">1<' in gates


def judge(store, day, *, value, most, sessions=3):
    """Put what the gates found of a day, as the pipeline does; a value above the most is a refusal."""
    verdict = Verdict.PASSED if value <= most else Verdict.REFUSED
    message = f"share of bad lines is {value}, raw.max_bad_share allows at most {most}"
    finding = Finding("bad_share", verdict, value, {"max_bad_share": most}, f"{message}: see /srv/raw/day.jsonl")
    report = GateReport("canonical", "0" * 64, (finding,), facts={"sessions": sessions})
    put_report_of_day(store, TARGET, day, report)


def test_a_refused_day_is_in_no_window_and_leads_to_its_finding(store, shop, open_client):
    shop.ship(2)
    judge(store, date(2026, 1, 3), value=0.004, most=0.01)
    judge(store, date(2026, 1, 4), value=0.2, most=0.01)
    client = open_client(store, now=lambda: NOW + timedelta(days=2))
    text = client.get(HOME).text
    assert re.findall(r'<li class="(in|missing|wanted|refused)"', text) == ["in", "refused"]
    line = re.search(r'aria-label="(bad_share, [^"]*)">(.*?)</svg>', text)
    assert line[1] == "bad_share, 2 days to 2026-01-04: 0.004 to 0.2, last 0.2, 1 refused"
    assert (line[2].count('class="limit"'), line[2].count('class="over"')) == (1, 1)
    day = client.get(re.search(rf'href="({HOME}/days/2026-01-04)"', text)[1]).text
    assert '<span class="mark bad">refused</span>' in day
    assert "--day 2026-01-04" in day
    assert "--override bad_share" in day
    assert "/srv/raw" not in day


def test_a_day_that_nothing_judged_says_so_and_one_that_is_none_is_refused(client):
    assert "This day has no gate report" in client.get(f"{HOME}/days/2020-01-01").text
    assert client.get(f"{HOME}/days/2026-02-30").status_code == 422


def test_days_of_the_window_are_in_missing_or_due(store, shop, open_client):
    shop.ship(2)
    text = open_client(store, now=lambda: NOW + timedelta(days=2)).get(HOME).text
    days = re.findall(r'<li class="(in|missing|wanted)" title="(2026-\d\d-\d\d)', text)
    assert days == [("in", "2026-01-03"), ("wanted", "2026-01-04")]


def test_the_target_says_what_comes_next(store, shop, young):
    place(store, shop)
    text = young.get(HOME).text
    steps = re.sub("<[^>]+>", "", text[text.index("Next steps") :].partition("</ul>")[0])
    assert "in 26 h: becomes stale unless a day after 2026-01-03 is live by then" in steps
    assert "held by ada" in steps
    assert "in 21 h: nightly schedule (0 1 * * * in UTC) builds 2026-01-04, if it is turned on in Dagster" in steps


def test_the_base_of_a_comparison_was_live(store, shop, releases, young):
    roll_back(store, TARGET, to=releases[0].id, by=ADA, now=shop.clock)
    shop.ship(4)
    text = young.get(HOME).text
    chosen = re.findall(r'name="(before|after)" value="(\w+)"[^>]* checked', text)
    assert dict(chosen) == {"before": releases[0].id, "after": read_current(store, TARGET).release_id}


def test_recommendations_of_two_releases_stand_side_by_side(store, shop, open_client):
    shop.ship(3, cooc={"item": {"a": 9, "b": 5, "c": 1}})
    last = shop.ship(4, cooc={"item": {"b": 9, "a": 5, "d": 1}})
    client = open_client(store)
    text = client.get(f"{HOME}/recommendations", params={"id": "item"}).text
    cooc = text[text.index("<h2>cooc") :]
    cooc = cooc[: cooc.index("</section>")]
    shown = re.findall(r'<li class="(\w*)"><span class="place">(\d)</span> <span class="id">(\w)</span>', cooc)
    assert shown[:3] == [("", "1", "a"), ("", "2", "b"), ("gone", "3", "c")]
    assert shown[3:] == [("up", "1", "b"), ("down", "2", "a"), ("new", "3", "d")]
    assert cooc.index(last.parent[:12]) < cooc.index(last.id[:12])


def with_catalog(folder, *lines, images=""):
    (folder / "catalog.jsonl").write_text("".join(f"{line}\n" for line in lines))
    settings = settings_in(folder)
    config = folder / "recsys.toml"
    config.write_text(f"{config.read_text()}[api]\nimages = [{images}]\n")
    return settings if not images else load_settings(str(config))


TITLED = '{"item_id":"a","title":"<b>Apple","image_url":"https://i.example/a.jpg","url":"https://s.example/a"}'


@pytest.mark.parametrize(
    ("images", "shown"), [("", False), ('"https://i.example"', True), ('"https://x.example"', False)]
)
def test_items_have_titles_and_pictures_of_configured_origins_alone(tmp_path, store, shop, open_client, images, shown):
    shop.ship(3, popularity={"a": 9})
    settings = with_catalog(tmp_path, TITLED, images=images)
    answer = open_client(store, settings=settings).get(f"{HOME}/recommendations")
    assert '<a href="https://s.example/a" rel="noreferrer noopener">&lt;b&gt;Apple</a>' in answer.text
    assert ('<img src="https://i.example/a.jpg"' in answer.text) == shown
    policy = f"img-src 'self'{' ' + images.strip(chr(34)) if images else ''};"
    assert policy in answer.headers["content-security-policy"]


def test_a_title_finds_the_item_and_a_changed_catalog_is_read_again(tmp_path, store, shop, open_client):
    shop.ship(3)
    client = open_client(store, settings=with_catalog(tmp_path, TITLED))
    assert "Did you mean" in client.get(f"{HOME}/recommendations", params={"id": "apple"}).text
    with_catalog(tmp_path, TITLED.replace("Apple", "Pear, a new one"))
    assert "Did you mean" not in client.get(f"{HOME}/recommendations", params={"id": "apple"}).text
    (tmp_path / "catalog.jsonl").unlink()
    assert client.get(f"{HOME}/recommendations", params={"id": "apple"}).status_code == 200


def test_a_sample_asks_both_releases_the_same_random_questions(store, shop, open_client):
    for n in (3, 4):
        shop.ship(n, cooc={f"item {m}": {"a": m + n, "b": 1} for m in range(50)}, implicit={"user": {"a": 1.0}})
    client = open_client(store)
    one, again, other = (client.get(f"{HOME}/recommendations", params={"sample": n}).text for n in (1, 1, 2))
    asked = re.findall(r'<th scope="row">.*?<span class="quiet">(\w+)</span> <a href="[^"]*[?]id=([^&]*)&', one)
    assert ("implicit", "user") in asked
    assert 5 < len({asked for _, asked in asked}) <= 20
    assert one == again != other


ROWS = {f"{letter}{n}": {"x": n + 1, "y": 1} for n in range(30) for letter in "ab"}


def ids_in(text):
    return re.findall(r'<th scope="row"><span class="id">(\w+)</span></th>', text)


def test_rows_are_browsed_by_support_and_prefix_page_by_page(store, shop, open_client):
    version = shop.ship(3, cooc=ROWS).refs["cooc"].version
    client = open_client(store)
    first = client.get(f"/artifacts/{version}")
    assert ids_in(first.text)[:3] == ["a29", "b29", "a28"]
    found = client.get(f"/artifacts/{version}", params={"prefix": "b2", "limit": 5})
    assert ids_in(found.text) == ["b29", "b28", "b27", "b26", "b25"]
    assert "1 to 5 of 11, most support first" in found.text
    further = re.search(r'href="([^"]*start=5[^"]*)">Next rows', found.text)[1].replace("&amp;", "&")
    assert ids_in(client.get(further).text) == ["b24", "b23", "b22", "b21", "b20"]
    assert ids_in(client.get(f"/artifacts/{version}", params={"sort": "stored"}).text)[:2] == ["a0", "a1"]
    assert "No row's id begins with z" in client.get(f"/artifacts/{version}", params={"prefix": "z"}).text


def test_an_artifact_of_too_many_rows_to_rank_is_shown_as_it_is_stored(store, shop, open_client, monkeypatch):
    for module in ("context", "pages"):
        monkeypatch.setattr(f"recsys_assets.api.{module}.MAX_RANKED", 10)
    version = shop.ship(3, cooc=ROWS).refs["cooc"].version
    client = open_client(store)
    text = client.get(f"/artifacts/{version}").text
    assert ids_in(text)[:2] == ["a0", "a1"]
    assert 'name="prefix"' not in text
    answer = client.get(f"/v1/artifacts/{version}/rows", params={"prefix": "b"})
    assert (answer.status_code, "at most 10 can be ranked" in answer.text) == (422, True)


def test_an_id_that_no_kind_knows_is_said_to_be_none(client):
    answer = client.get(f"{HOME}/recommendations", params={"id": "<b>nobody"})
    assert (answer.status_code, "No kind of release" in answer.text) == (200, True)
    assert "<b>nobody" not in answer.text


def test_the_diff_reports_ranks_of_rankings_alone(store, shop, open_client):
    shop.ship(3, popularity={"a": 9, "b": 5}, cooc={"x": {"a": 3}, "y": {"b": 3}})
    shop.ship(4, popularity={"a": 5, "b": 9}, cooc={"w": {"a": 1}, "x": {"b": 3}, "y": {"b": 3}})
    rows = (
        open_client(store)
        .get(f"{HOME}/diff", params={"before": tail(store, TARGET).before, "after": "live"})
        .text.split("<tr>")
    )
    ranking = next(row for row in rows if "popularity" in row)
    lists = next(row for row in rows if "cooc" in row)
    assert "2 moved" in ranking
    assert "2 → 1" in ranking
    assert "1 changed" in lists
    assert "→" not in lists[lists.index("1 changed") :]


def test_a_release_is_a_graph_from_its_days_to_itself(client, releases):
    text = client.get(f"{HOME}/releases/live").text
    graph = text[text.index('<svg class="graph"') :].partition("</svg>")[0]
    names = re.findall(r'class="name">([^<]+)<', graph)
    assert names[:2] == ["2026-01-03", "2026-01-03"]  # the day, and the window that is this day
    assert names[-1] == f"release {releases[2].id[:12]}"
    assert set(names[2:-1]) == set(releases[2].refs)
    assert graph.count("<path") == 1 + 2 * len(releases[2].refs)
    assert f'href="{HOME}/days/2026-01-03"' in graph


def scored(**facts):
    """Return the report of a back-test with these numbers."""
    finding = Finding("backtest_blend", Verdict.PASSED, 0.0, {}, "not worse than live")
    return GateReport("backtest", "0" * 64, (finding,), facts={key.replace("__", "/"): n for key, n in facts.items()})


def test_a_report_draws_the_back_test_with_its_interval(releases):
    report = scored(ndcg__blend=0.3, live_ndcg__blend=0.2, difference_low__blend=0.05, difference_high__blend=0.2)
    (plot,) = draw_report(msgspec.structs.replace(releases[2], gates=(report,)))
    (bar,) = plot.bars
    assert (plot.low, plot.high) == (0.0, 0.4)
    assert (bar.value, bar.live, bar.interval) == (75.0, 50.0, (62.5, 100.0))
    assert bar.message == "blend: 0.3, live 0.2, interval 0.25 to 0.4"


def test_churn_and_coverage_of_kinds_are_bars_with_their_limit(releases):
    churn = Finding("drift_churn", Verdict.PASSED, 0.25, {"max_churn": 1.0}, "")
    members = [
        msgspec.structs.replace(one, gates=GateReport(one.ref.kind, one.ref.version, (churn,)))
        for one in releases[2].members
    ]
    (plot,) = draw_report(msgspec.structs.replace(releases[2], members=tuple(members)))
    assert [bar.name for bar in plot.bars] == [one.ref.kind for one in releases[2].members]
    assert {(bar.value, bar.limit) for bar in plot.bars} == {(25.0, 100.0)}


def test_runs_lead_to_dagster_where_its_address_is_configured(tmp_path, store, shop, open_client):
    run = "491b4080-8a2f-4c14-b910-58ea3485253d"
    release = shop.ship(2)
    build = msgspec.structs.replace(release.build, run_id=run)
    key = release_key(TARGET, release.id)
    record = msgspec.structs.replace(release, build=build, digest=msgspec.UNSET, v=1)
    store.delete(key)
    store.put(key, encode(record))
    settings_in(tmp_path)
    config = tmp_path / "recsys.toml"
    assert f"/runs/{run}" not in open_client(store).get(f"{HOME}/releases/live").text
    config.write_text(f'{config.read_text()}[api]\ndagster_url = "https://dagster.example/"\n')
    text = open_client(store, settings=load_settings(str(config))).get(f"{HOME}/releases/live").text
    assert f'<a href="https://dagster.example/runs/{run}">' in text


def test_the_api_is_described_for_people(client):
    text = client.get("/api").text
    assert "<code>/v1/artifacts/{version}/rows</code>" in text
    assert "curl http://api/v1/targets" in text
    assert re.search(r'200</strong>[^<]*<code>application/json</code> <a href="#(\w+)">', text)
    linked, there = set(re.findall(r'href="#(\w+)"', text)), set(re.findall(r'id="(\w+)"', text))
    assert linked <= there


def test_a_page_that_is_not_there_says_so_in_words(client):
    answer = client.get("/targets/nobody/home")
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "just now"), (90, "1 min ago"), (3 * 3600, "3 h ago"), (47 * 3600, "47 h ago"), (72 * 3600, "3 days ago")],
)
def test_ages_are_words(seconds, words):
    assert distance(timedelta(seconds=seconds)) == words
    assert distance(timedelta(seconds=-3 * 3600)) == "in 3 h"


def test_a_time_that_is_none_stays_text():
    assert str(ago("<i>", NOW)) == "&lt;i&gt;"
    assert str(ago(None, NOW)) == "-"


def test_limits_are_the_numbers_among_the_parameters():
    assert limits({"kind": "cooc", "gates.min_rows": 1.0, "events": "", "half_life_days": None}) == "gates.min_rows 1"


@pytest.mark.parametrize(("number", "words"), [(0.9812, "0.98"), (812, "812"), (23_400, "23.4 k"), (5.1e6, "5.1 M")])
def test_numbers_beside_lines_are_short(number, words):
    assert brief(number) == words
