"""The console in a real browser: every page in both sizes and themes, and the ways that people take through it."""

import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote

import polars as pl
import pytest
from playwright.sync_api import expect

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.evidence import Finding, GateReport, Verdict
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import REFUSED, Actor, append, entry_of, tail
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.outputs import ApiSettings, TokenSettings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.trees.content import table_content
from recsys_assets_tests.api.conftest import TREES, settings_in
from recsys_assets_tests.browsing import THOROUGH, chromium, faults_of, needs_chromium, serving
from recsys_assets_tests.release.staging import put_report_of_day
from recsys_assets_tests.serving.releases import TARGET, Shop

pytestmark = [pytest.mark.slow, needs_chromium]
HOME = "/targets/shop/home"
NOW = datetime(2026, 1, 6, 4, tzinfo=UTC)
BAD_DAY = date(2026, 1, 5)
SENTENCE = "share of bad lines is 0.4, raw.max_bad_share allows at most 0.01"
MANY = {f"item {n:03}": {f"item {m:03}": 9 - m for m in range(5) if m != n} for n in range(60)}


def refuse(store, clock):
    finding = Finding("bad_share", Verdict.REFUSED, 0.4, {"max_bad_share": 0.01}, SENTENCE, count=7)
    put_report_of_day(store, TARGET, BAD_DAY, GateReport("canonical", "0" * 64, (finding,)))
    entry = entry_of(
        action="build",
        outcome=REFUSED,
        by=Actor("nightly", f"build of {BAD_DAY}"),
        now=clock(),
        live=read_current(store, TARGET),
        message=f"canonical of {BAD_DAY}: gate bad_share refused: {SENTENCE}",
        details={"day": str(BAD_DAY), "step": "canonical", "error": "gate"},
    )
    append(store, TARGET, entry, after=tail(store, TARGET))


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """A shop on a bad morning: home was rolled back and its newest day refused, cart is held, offers has nothing."""
    store, ada = MemoryStore(), Actor("ada", "prices are wrong")
    shop = Shop(store)
    shop.clock.at = NOW - timedelta(hours=3)
    found = [shop.ship(n, cooc=MANY, implicit={"a user": {"a": 2.0, "b": 1.0}}) for n in range(4)]
    roll_back(store, TARGET, to="previous", by=ada, now=shop.clock)
    refuse(store, shop.clock)
    publish_fixture(store, "shop", "cart", {"popularity": {"a": 1}}, day=BAD_DAY, now=lambda: NOW)
    folder = tmp_path_factory.mktemp("console")
    (folder / "catalog.jsonl").write_text(
        '{"item_id":"item 001","title":"The first one","url":"https://shop.example/1"}'
    )
    targets = [("shop", "home"), ("shop", "cart"), ("shop", "offers")]
    settings = settings_in(folder, targets=targets, more=TREES)
    place_hold(store, settings.targets[1].target, by=ada, now=shop.clock)
    return ApiContext(store, settings, now=lambda: NOW), found


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def page(releases, browser):
    """A page of a browser on the console; it fails on whatever is asked of another server."""
    with serving(make_application(releases[0])) as url:
        page = browser.new_page(base_url=url)
        elsewhere = []
        page.on("request", lambda request: request.url.startswith(url) or elsewhere.append(request.url))
        yield page
        assert elsewhere == []


@pytest.fixture(scope="module")
def model(releases):
    """A model in a tree: trained twice, with a table, below an experiment and above many predictions."""
    tree = releases[0].trees["ml_pipeline"]
    experiment = tree.save({"name": "nightly", "notes": "as long as a note gets when nobody stops it " * 4})
    model = tree.save({"rmse": 0.25, "shape": [1, 2]}, parent=experiment.id)
    for n in range(60):
        tree.save({"day": f"2026-01-{n % 30 + 1:02}"}, parent=model.id)
    content = table_content(pl.DataFrame({"item": ["a"], "score": [0.5]}))
    data = {"type": "ml_training", "metadata": {"status": "success", "config_id": "c1"}}
    return tree.revise(model.id, data, content=content, by=Actor("ada", "trained again"))


@pytest.fixture(scope="module")
def addresses(releases, model):
    first, last = releases[1][0], releases[1][-1]
    return {
        "nodes": "/trees?hierarchy=ml_pipeline",
        "node": f"/trees/{model.id}",
        "older revision": f"/trees/{model.id}?revision=1",
        "overview": "/",
        "target": HOME,
        "target without a release": "/targets/shop/offers",
        "day that was refused": f"{HOME}/days/{BAD_DAY}",
        "release": f"{HOME}/releases/{first.id}",
        "report": f"{HOME}/releases/{last.id}/report",
        "comparison": f"{HOME}/diff?before={first.id}&after={last.id}",
        "recommendations": f"{HOME}/recommendations?id=item+001",
        "sample": f"{HOME}/recommendations?sample=1",
        "rows": f"/artifacts/{last.refs['cooc'].version}",
        "API": "/api",
        "error": "/targets/nobody/home",
    }


def test_every_page_fits_phones_and_screens_and_axe_finds_nothing(page, addresses):
    faults = []
    for turn, address in enumerate(addresses.values()):
        page.goto(address)
        faults += faults_of(page, turn=turn)
    assert faults == []


@pytest.mark.skipif(not THOROUGH, reason="set THOROUGH=1 to open all that is folded away")
def test_what_is_folded_away_keeps_the_rules_too(page, addresses):
    for name in ("target", "API"):
        page.goto(addresses[name])
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert faults_of(page, looks=[(390, "light")], tallest=100_000) == []


def test_a_failed_gate_is_two_clicks_from_the_overview(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto("/")
    page.get_by_role("link", name="shop/home").click()
    page.get_by_role("link", name=str(BAD_DAY)).first.click()
    expect(page.get_by_text(SENTENCE, exact=True)).to_be_visible()
    expect(page.get_by_text("--override bad_share")).to_be_visible()


def test_a_stale_target_and_its_cause_stand_first_in_the_overview(page):
    page.goto("/")
    first = page.locator("tbody tr").first
    expect(first.get_by_text("shop/home")).to_be_visible()
    expect(first.get_by_text("bad_share")).to_be_visible()
    first.get_by_role("link", name="shop/home").click()
    expect(page.locator(".note").get_by_text("held since").first).to_be_visible()


def test_a_release_is_compared_from_the_target_and_items_have_their_title(page):
    page.goto(HOME)
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="Try recommendations of both").click()
    page.get_by_label("Item or user id").fill("first one")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="The first one").click()
    page.get_by_role("heading", name="cooc for The first one").wait_for()


def test_lists_follow_what_is_typed_and_the_page_stays(page, addresses):
    for address, label, typed, found, rows in (
        ("/", "Name", "cart", "shop/cart", 1),
        (addresses["rows"], "Ids that begin with", "item 05", "1 to 10 of 10", 10),
    ):
        page.goto(address)
        page.evaluate("window.stays = true")
        page.get_by_label(label).press_sequentially(typed)
        page.wait_for_url(lambda url, typed=typed: typed in unquote(url))
        page.get_by_text(found).first.wait_for()
        expect(page.locator("tbody tr")).to_have_count(rows)
        assert page.evaluate("window.stays")


def test_two_releases_are_asked_without_a_reload(page, releases):
    page.goto(f"{HOME}/recommendations?id=item+001")
    page.evaluate("window.stays = true")
    page.get_by_label("Before").select_option(releases[1][0].id)
    page.wait_for_url(f"**before={releases[1][0].id}*")
    page.get_by_label("Item or user id").fill("item 002")
    page.keyboard.press("Tab")
    page.get_by_role("heading", name="cooc for item 002").wait_for()
    assert page.evaluate("window.stays")


def test_pages_search_without_a_script(releases, browser):
    with serving(make_application(releases[0])) as url:
        page = browser.new_page(base_url=url, java_script_enabled=False)
        page.goto("/")
        page.get_by_label("Name").fill("cart")
        page.get_by_role("button", name="Show").click()
        assert page.locator("tbody tr").count() == 1
        page.close()


def test_rows_are_found_by_prefix(page, addresses):
    page.goto(addresses["rows"])
    page.get_by_label("Ids that begin with").fill("item 01")
    page.get_by_role("button", name="Find").click()
    page.get_by_text("1 to 10 of 10, most support first").wait_for()


def test_a_model_is_found_by_its_status_and_its_table_is_downloaded(page, model):
    page.goto("/")
    page.get_by_role("link", name="Trees").click()
    page.get_by_label("Search").fill("success")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name=model.id).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == f"artifact_{model.id}.csv"
    page.get_by_label("Revisions").get_by_role("link", name="1").click()
    page.get_by_text("0.25").first.wait_for()


def test_a_keyboard_gets_past_the_header_and_opens_what_is_folded(page):
    page.goto(HOME)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))
    folded = page.locator("details:not([open])")
    count = folded.count()
    folded.first.locator("summary").focus()
    page.keyboard.press("Enter")
    assert folded.count() == count - 1


def test_a_hold_is_released_from_the_page_by_a_person_with_a_token(releases, browser):
    context = releases[0]
    digest = hashlib.sha256(b"secret").hexdigest()
    token = TokenSettings(name="ada", sha256=digest, scopes=("read", "operate"))
    settings = context.settings.model_copy(update={"api": ApiSettings(tokens=(token,))})
    credentials = {"username": "ada", "password": "secret"}
    with serving(make_application(ApiContext(context.store, settings, now=context.now))) as url:
        page = browser.new_page(base_url=url, http_credentials=credentials)
        page.goto("/targets/shop/cart")
        page.get_by_role("link", name="Release the hold").click()
        assert faults_of(page) == []
        page.get_by_role("button", name="Release the hold").click()
        expect(page).to_have_url(re.compile("action=release_hold$"))  # a reason and a confirmation are asked for first
        page.get_by_label("Reason").fill("prices are right")
        page.get_by_label("I confirm this action").check()
        page.get_by_role("button", name="Release the hold").click()
        page.get_by_role("link", name="Back to the target").click()
        expect(page.get_by_role("cell", name="prices are right")).to_be_visible()
        expect(page.get_by_role("link", name="Hold", exact=True)).to_be_visible()
