"""The web page: what it shows, that names stay text, and that it can be read by those who do not see it."""

import hashlib
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from recsys_assets.api.pages import HTMX
from recsys_assets.release.journal import Actor
from recsys_assets.trees.content import table_content
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests.api.conftest import TREES, settings_in

PUBLISHED = "71ea67185bfa8c98c39d31717c6fce5d852370fcdfd129db4543774d3145c0de"  # of htmx.min.js 2.0.10
HOME = "/targets/shop/home"
EVIL = '"><img src=x onerror=alert(1)>&{{7*7}}'


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path, more=TREES)


@pytest.fixture
def trees(store, settings):
    return open_trees(store, settings)


@pytest.fixture
def model(trees):
    """A model with two revisions and a table, below an experiment, with predictions below it; and one in the trash."""
    tree = trees["ml_pipeline"]
    root = tree.save({"name": "nightly"})
    model = tree.save({"type": "ml_training", "metadata": {"status": "failed"}}, parent=root.id)
    tree.save({"day": "2026-01-03", "who": EVIL}, parent=model.id)
    tree.delete(tree.save({"name": "a mistake"}).id)
    content = table_content(pl.DataFrame({"item": ["a", "b"], "score": [0.5, 1.0]}))
    data = {"type": "ml_training", "metadata": {"status": "success", "config_id": "c1"}}
    return tree.revise(model.id, data, content=content, by=Actor("anna", "trained again"))


@pytest.fixture
def addresses(releases, model):
    version = releases[2].refs["cooc"].version
    return [
        "/trees",
        "/trees?hierarchy=ml_pipeline&level=1&metadata=status:success",
        "/trees?hierarchy=documents",
        "/trees?deleted=true",
        f"/trees/{model.id}",
        f"/trees/{model.id}?revision=1",
        f"/trees/{model.document.parent}",
        "/",
        HOME,
        "/targets/shop/cart",
        f"{HOME}/releases/live",
        f"{HOME}/releases/live/report",
        f"{HOME}/diff?before={releases[0].id}&after=live",
        f"/artifacts/{version}",
        f"/artifacts/{version}?id=item",
        f"/artifacts/{version}?id=",
        f"/artifacts/{version}?prefix=i&sort=stored",
        f"{HOME}/recommendations",
        f"{HOME}/recommendations?sample=3",
        f"{HOME}/days/2026-01-03",
        f"{HOME}/outcomes",
        "/api",
        "/targets/nobody/home",
    ]


class Elements(HTMLParser):
    """Every element of a page with its attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_every_page_is_whole_and_needs_nothing_from_elsewhere(client, addresses):
    for address in addresses:
        answer = client.get(address)
        page = Elements(answer.text)
        assert answer.headers["content-type"].startswith("text/html"), address
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert page.all("html") == [{"lang": "en"}]
        assert page.all("script") == [{"src": f"/{HTMX}", "defer": None}]
        links = [attributes["href"] for tag in ("a", "link") for attributes in page.all(tag)]
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links)
        assert not re.search(r"style=|onclick=", answer.text)


def test_the_script_of_the_pages_is_htmx_as_it_was_published(client):
    answer = client.get(f"/{HTMX}")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert hashlib.sha256(answer.content).hexdigest() == PUBLISHED


def test_every_page_can_be_read_aloud(client, addresses):
    for address in addresses:
        page = Elements(client.get(address).text)
        assert len(page.all("h1")) == 1, address
        assert page.all("main")
        assert all(attributes.get("scope") in {"row", "col"} for attributes in page.all("th"))
        labelled = {attributes["for"] for attributes in page.all("label")}
        for field in page.all("input"):
            named = field.get("aria-label") or field.get("id") in labelled
            assert named or field["type"] == "hidden", field


def test_the_pages_links_lead_somewhere(client, addresses):
    for address in addresses:
        for link in Elements(client.get(address).text).all("a"):
            if link["href"].startswith("/"):
                assert client.get(link["href"]).status_code == 200, (address, link)


def test_hostile_ids_stay_text(client, shop):
    release = shop.ship(5, popularity={EVIL: 9}, cooc={EVIL: {EVIL: 2}})
    for kind in ("popularity", "cooc"):
        text = client.get(f"/artifacts/{release.refs[kind].version}").text
        assert "<img" not in text
        assert "&lt;img" in text
        assert "{{7*7}}" in text
        assert Elements(text).all("img") == []
    for text in (
        client.get(f"{HOME}/diff", params={"before": release.parent, "after": release.id}).text,
        client.get(f"{HOME}/releases/{release.id}/report").text,
    ):
        assert "<img" not in text
        assert "&lt;img" in text


def test_the_first_page_reports_live_release_age_and_state(client, releases):
    text = client.get("/").text
    assert releases[2].id[:12] in text
    assert "2026-01-04 00:00:00 UTC" in text  # the end of the last day
    assert ">stale<" in text
    assert ">no data<" in text
    assert "nothing is live" in text


def test_a_search_that_finds_nothing_says_so(client, releases):
    answer = client.get(f"/artifacts/{releases[2].refs['cooc'].version}", params={"id": EVIL})
    assert (answer.status_code, "has no row for" in answer.text, "<img" in answer.text) == (200, True, False)


def listed(client, address):
    """Return the ids of the nodes that a page lists, in order."""
    return re.findall(r'<th scope="row"><(?:a|span) class="id"[^>]*>(\w{26})<', client.get(address).text)


def test_nodes_are_found_by_search_filters_and_pages(client, trees, model):
    root, below = trees["ml_pipeline"].find(model.document.parent), trees["ml_pipeline"].children(model.id)[0]
    document = trees["documents"].save({"title": "Nightly report"})
    assert listed(client, "/trees") == [root.id, model.id, below.id, document.id]
    assert listed(client, "/trees?q=NIGHT") == [root.id, document.id]
    assert listed(client, f"/trees?q={model.id[:26].lower()}") == [model.id]
    assert listed(client, "/trees?q=&hierarchy=&level=1&metadata=status:success") == [model.id]
    assert listed(client, f"/trees?parent_id={model.id}") == [below.id]
    today = model.document.created_at[:10]
    assert listed(client, f"/trees?first_day={today}&last_day={today}&hierarchy=documents") == [document.id]
    assert listed(client, f"/trees?first_day={today}&last_day=2020-01-01") == []
    assert len(listed(client, "/trees?deleted=true")) == 1
    assert client.get("/trees?first_day=2026-02-30").status_code == 422
    for n in range(50):
        trees["documents"].save({"n": n})
    first = client.get("/trees?hierarchy=documents")
    assert "page 1 of 2" in first.text
    (onward,) = re.findall(r'href="(/trees\?page=2[^"]*)"', first.text)
    assert len(listed(client, onward.replace("&amp;", "&"))) == 1


def test_a_node_shows_its_data_place_revisions_and_downloads(client, trees, model):
    text = client.get(f"/trees/{model.id}").text
    for shown in ("<h1>model", "success", "c1", model.document.parent, "2026-01-03", "&lt;img"):
        assert shown in text
    assert "<img" not in text
    rows = client.get(f"/trees/{model.id}/download", params={"format": "csv"})
    assert rows.text == "item,score\r\na,0.5\r\nb,1.0\r\n"
    assert "attachment" in rows.headers["content-disposition"]
    older = client.get(f"/trees/{model.id}?revision=1").text
    assert "not the newest" in older
    assert "failed" in older
    assert f"/trees/{model.id}/download?revision=1" in older
    assert client.get(f"/trees/{model.id}/download?revision=1").json()["metadata"] == {"status": "failed"}
    assert "trained again" in client.get("/trees?hierarchy=ml_pipeline").text
    for n in range(120):
        trees["ml_pipeline"].save({"n": n}, parent=model.document.parent)
    assert "All 121 children" in client.get(f"/trees/{model.document.parent}").text


def test_without_hierarchies_pages_say_how_to_have_some(store, tmp_path, open_client):
    client = open_client(store, settings=settings_in(tmp_path))
    assert "[hierarchies." in client.get("/trees").text
    assert 'href="/trees"' not in client.get("/").text


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(client, theme):
    blocks = re.findall(r":root \{(.*?)\}", client.get("/style.css").text, re.DOTALL)
    colours = {
        name: value * (2 if len(value) == 4 else 1) for name, value in re.findall(r"--([a-z-]+): (#\w+)", blocks[theme])
    }
    colours = {name: "#ffffff" if value == "#fff#fff" else value for name, value in colours.items()}
    pairs = [(ink, paper) for ink in ("text", "quiet", "link") for paper in ("ground", "soft")]
    pairs += [(name, f"{name}-soft") for name in ("good", "warn", "bad")]
    assert {
        pair: contrast(*(colours[name] for name in pair))
        for pair in pairs
        if contrast(*(colours[n] for n in pair)) < 4.5
    } == {}
