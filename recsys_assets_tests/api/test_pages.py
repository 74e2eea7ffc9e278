"""The web page: what it shows, that names stay text, and that it can be read by those who do not see it."""

import re
from html.parser import HTMLParser

import pytest

HOME = "/targets/shop/home"
EVIL = '"><img src=x onerror=alert(1)>&{{7*7}}'


@pytest.fixture
def addresses(releases):
    version = releases[2].refs["cooc"].version
    return [
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
        assert page.all("script") == []
        links = [attributes["href"] for tag in ("a", "link") for attributes in page.all(tag)]
        assert all(link.startswith(("/", "#")) and not link.startswith("//") for link in links)
        assert not re.search(r"style=|onclick=", answer.text)


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
    assert (answer.status_code, "No row of" in answer.text, "<img" in answer.text) == (200, True, False)


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
