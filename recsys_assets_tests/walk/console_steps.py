"""Steps in the console: two clicks to a finding and a cause, a hold undone, every page in every look, a long home."""

from datetime import UTC, datetime

from playwright.sync_api import expect

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import known_releases
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.browsing import LOOKS, faults_of, serving
from recsys_assets_tests.small_shop import HOME
from recsys_assets_tests.walk.scene import NEWEST, ago

ANN = Actor("ann", "the walk")
PAGE = "/targets/shop/home"
MANY = 1000
HOME_SECONDS, HOME_BYTES, ROWS = 0.5, 300_000, 50
TALLEST = 100_000  # pixels of a page whose every fold is open


def refused_day_in_two_clicks(walk):
    """From the overview to the sentence of the gate and the way out."""
    page = walk.console
    page.goto("/")
    page.get_by_role("link", name="shop/home").click()
    page.get_by_role("link", name=str(NEWEST)).first.click()
    expect(page.get_by_text("share of bad lines").first).to_be_visible()
    expect(page.get_by_text("--override bad_share").first).to_be_visible()


def stale_target_and_its_cause(walk):
    """The overview has the target first, with its cause; one click says more."""
    page = walk.console
    page.goto("/")
    first = page.locator("tbody tr").first
    expect(first.get_by_text("shop/home")).to_be_visible()
    expect(first.get_by_text("bad_share").first).to_be_visible()
    first.get_by_role("link", name="shop/home").click()
    expect(page.get_by_text("bad_share").first).to_be_visible()


def hold_released_in_the_browser(walk):
    """The hold that the launchpad placed is released on the page, with a reason, by a token."""
    page = walk.console
    page.goto(PAGE)
    page.get_by_role("link", name="Release the hold").click()
    page.get_by_label("Reason").fill("seen on the walk")
    page.get_by_label("I confirm this action").check()
    page.get_by_role("button", name="Release the hold").click()
    page.get_by_role("link", name="Back to the target").click()
    expect(page.get_by_role("link", name="Hold", exact=True)).to_be_visible()
    assert read_hold(walk.store, HOME) is None


def every_page_in_every_look(walk):
    """Every page at two widths, light and dark: axe finds nothing, and nothing is wider than the screen."""
    page, faults = walk.console, []
    for name, address in _addresses(walk).items():
        answer = page.goto(address)
        assert answer.status == (404 if name == "error" else 200), (address, answer.status)
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=walk.pictures / f"console-{name}-{width}-{scheme}.png", full_page=name != "API")
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        faults += [f for turn in range(len(LOOKS)) for f in faults_of(page, looks=[LOOKS[turn]], tallest=TALLEST)]
    assert faults == [], "\n".join(faults)


def long_home_is_small_and_quick(walk):
    """The overview of 1,000 targets, in a browser: half a second and 300 kB, with its style sheet."""
    store = MemoryStore()
    folder = walk.pictures / "many"
    folder.mkdir(exist_ok=True)
    targets = [(f"t{n:04}", "home") for n in range(MANY)]
    for tenant, surface in targets:
        publish_fixture(store, tenant, surface, {"popularity": {"a": 2, "b": 1}}, day=ago(1))
    context = ApiContext(store, settings_in(folder, targets=targets), now=lambda: datetime.now(UTC))
    with serving(make_application(context)) as url:
        page = walk.browser.new_page(base_url=url)
        page.goto("/")  # the server keeps a look at all targets warm from its start on
        assert page.reload().status == 200
        took, size = page.evaluate(
            """() => { const one = performance.getEntriesByType("navigation")[0];
            const all = [one, ...performance.getEntriesByType("resource")];
            return [one.loadEventEnd / 1000, all.reduce((sum, each) => sum + each.decodedBodySize, 0)]; }"""
        )
        walk.say(f"home of {MANY} targets: {took:.2f} s, {size:,} bytes")
        assert took < walk.limit(HOME_SECONDS), took
        assert size < HOME_BYTES, size
        assert page.locator("tbody tr").count() == ROWS


def _addresses(walk):
    live = read_current(walk.store, HOME)
    known = list(known_releases(walk.store, HOME))
    first, last = known[-1], live.release_id
    return {
        "overview": "/",
        "target": PAGE,
        "target-without-a-release": "/targets/shop/empty",
        "day-refused": f"{PAGE}/days/{NEWEST}",
        "release": f"{PAGE}/releases/live",
        "report": f"{PAGE}/releases/{last}/report",
        "comparison": f"{PAGE}/diff?before={first}&after={last}",
        "recommendations": f"{PAGE}/recommendations?id=i1",
        "sample": f"{PAGE}/recommendations?sample=1",
        "rows": f"/artifacts/{live.versions['cooc']}",
        "outcomes": f"{PAGE}/outcomes",
        "hold": f"{PAGE}/act?action=hold",
        "trees": "/trees",
        "node": f"/trees/{open_trees(walk.store, walk.shop.settings)['lab'].save({}, by=ANN).id}",
        "API": "/api",
        "error": "/targets/nobody/home",
    }
