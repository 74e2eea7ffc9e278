"""Actions from a page: offered to a token that may act, confirmed with a reason, taken from this console alone."""

import hashlib
import re
from base64 import b64encode

import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import tail
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.outputs import ApiSettings, TokenSettings
from recsys_assets_tests.api.conftest import Client
from recsys_assets_tests.serving.releases import TARGET

HOME = "/targets/shop/home"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def open_with(store, releases, settings):
    """A client with the token of ada, who may do what is named; without scopes no token is configured."""
    assert releases

    def opened(*scopes):
        digest = hashlib.sha256(b"secret").hexdigest()
        tokens = (TokenSettings(name="ada", sha256=digest, scopes=scopes),) if scopes else ()
        guarded = settings.model_copy(update={"api": ApiSettings(tokens=tokens)})
        return Client(make_application(ApiContext(store, guarded)))

    return opened


def password(secret=None):
    secret = secret or "secret"
    return {"Authorization": f"Basic {b64encode(f'anybody:{secret}'.encode()).decode()}"}


def send(client, headers=OURS, **fields):
    given = {"reason": "prices are wrong", "confirmed": "yes", **fields}
    return client.request("POST", f"{HOME}/act", data=given, headers=password() | headers)


def test_a_browser_is_asked_for_a_token_and_sends_it_as_a_password(open_with):
    client = open_with("read")
    answer = client.get("/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "<h1>" in answer.text
    assert client.get("/", headers=password()).status_code == 200
    assert client.get("/", headers=password("guess")).status_code == 401
    assert client.get("/", headers={"Authorization": "Basic !"}).status_code == 401


def test_what_pages_offer_to_download_takes_the_browsers_password(open_with, releases):
    client = open_with("read")
    version = releases[0].refs["cooc"].version
    (link,) = re.findall(r'href="([^"]*/content[^"]*)"', client.get(f"/artifacts/{version}", headers=password()).text)
    assert (
        client.get(link.replace("&amp;", "&"), headers=password()).content
        == client.get(f"/v1/artifacts/{version}/content", headers={"Authorization": "Bearer secret"}).content
    )
    assert client.get(link.replace("&amp;", "&")).status_code == 401


def test_machines_need_a_bearer_for_browsers_send_passwords_of_themselves(open_with):
    client = open_with("read", "operate")
    assert client.get("/v1/targets", headers=password()).status_code == 401
    answer = client.request(
        "POST", "/api/v1/targets/shop/home/hold", content=b'{"reason": "x"}', headers=password() | OURS
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(("scopes", "offered"), [((), False), (("read",), False), (("read", "operate"), True)])
def test_pages_offer_actions_to_a_token_that_may_act_and_are_read_only_without(open_with, scopes, offered):
    client = open_with(*scopes)
    for page in (HOME, f"{HOME}/releases/live"):
        assert ("/act?action=" in client.get(page, headers=password()).text) == offered
    status = client.get(f"{HOME}/act", params={"action": "hold"}, headers=password()).status_code
    assert status == (200 if offered else 403)
    assert send(client, action="hold").status_code == (200 if offered else 403)


def test_a_confirmed_hold_names_who_and_why_and_is_released_again(store, open_with):
    client = open_with("read", "operate")
    assert "held" in send(client, action="hold").text
    hold = read_hold(store, TARGET)
    assert (hold.actor, hold.reason, hold.lifted) == ("ada", "prices are wrong", None)
    assert "action=release_hold" in client.get(HOME, headers=password()).text
    send(client, action="release_hold")
    assert read_hold(store, TARGET) is None or read_hold(store, TARGET).lifted


@pytest.mark.parametrize("to", ["previous", "id"])
def test_a_rollback_offers_what_was_live_and_goes_there(store, releases, open_with, to):
    client = open_with("read", "operate")
    page = client.get(f"{HOME}/act", params={"action": "roll_back"}, headers=password()).text
    assert f'<option value="{releases[0].id}">2026-01-01' in page
    chosen = {"previous": "previous", "id": releases[0].id}[to]
    assert send(client, action="roll_back", release=chosen).status_code == 200
    assert read_current(store, TARGET).release_id == releases[1 if to == "previous" else 0].id
    assert tail(store, TARGET).actor == "ada"


def test_releases_are_pinned_and_unpinned_and_marked_bad(store, releases, open_with):
    client = open_with("read", "operate")
    one = releases[0].id
    send(client, action="pin", release=one)
    assert find_label(store, TARGET, Labelled.PINNED, one) is not None
    assert "Unpin" in client.get(f"{HOME}/releases/{one}", headers=password()).text
    send(client, action="unpin", release=one)
    assert find_label(store, TARGET, Labelled.PINNED, one) is None
    send(client, action="mark_bad", release=one)
    assert find_label(store, TARGET, Labelled.BAD, one) is not None


@pytest.mark.parametrize(
    ("headers", "fields", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({}, {}, 403),
        ({"Origin": "https://evil.example"}, {}, 403),
        ({"Origin": "http://api"}, {}, 200),
        (OURS, {"confirmed": ""}, 422),
        (OURS, {"reason": ""}, 422),
        (OURS, {"action": "retire"}, 422),
    ],
)
def test_forms_from_elsewhere_or_not_confirmed_change_nothing(store, open_with, headers, fields, status):
    before = tail(store, TARGET).sequence
    answer = send(open_with("read", "operate"), headers, **{"action": "hold", **fields})
    assert answer.status_code == status
    assert (tail(store, TARGET).sequence > before) == (status == 200)
    assert "<h1>" in answer.text


def test_a_refusal_is_said_in_words(store, releases, open_with):
    client = open_with("read", "operate")
    store.delete(blob_key(TARGET, "cooc", releases[0].refs["cooc"].version))
    answer = send(client, action="roll_back", release=releases[0].id)
    assert (answer.status_code, "<h1>" in answer.text) == (409, True)
    assert read_current(store, TARGET).release_id == releases[2].id
