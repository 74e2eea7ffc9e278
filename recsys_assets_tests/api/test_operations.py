"""Operations over HTTP do what the commands do, for a token with the scope `operate` alone, and say who did it."""

import hashlib
import json

import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.api.operations import ACTIONS
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import newest_first
from recsys_assets.release.labels import Labelled, find_label, find_tag
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.outputs import ApiSettings, TokenSettings
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.api.conftest import Client
from recsys_assets_tests.inbox import address, open_inbox

IMPORTS = """
[imports.vectors]
path = "drop/{day}.jsonl"
format = "jsonl"
contract = { item_id = "string", score = "float64" }
"""
GOOD = b'{"item_id":"i1","score":0.5}\n'
ROOT = "/api/v1/targets/shop/home"
pytestmark = pytest.mark.usefixtures("releases")


@pytest.fixture
def client(shop, settings):
    """A client that acts with the scope that it is given."""
    file = settings.base / "recsys.toml"
    file.write_text(file.read_text().replace("[artifacts]", f"{IMPORTS}[artifacts]"))
    tokens = tuple(
        TokenSettings(name=f"{scope} of ann", sha256=hashlib.sha256(scope.encode()).hexdigest(), scopes=(scope,))
        for scope in ("read", "write", "operate")
    )
    guarded = load_settings(str(file)).model_copy(update={"api": ApiSettings(tokens=tokens)})
    return Client(make_application(ApiContext(shop.store, guarded)))


def ask(client, path, body=None, *, method="POST", scope="operate", **query):
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {scope}"}
    return client.request(method, f"{ROOT}/{path}", content=content, headers=headers, params=query)


def newest(shop):
    return next(newest_first(shop.store, shop.target))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_no_operation_is_taken_for_another_scope(client, shop, action):
    before = sorted((item.key, item.size) for item in shop.store.list(""))
    path = action.path.removeprefix("/api/v1/targets/{tenant}/{surface}/").format(name="champion")
    for scope in ("read", "write"):
        found = ask(client, path, {"reason": "x"}, method=action.method, scope=scope)
        assert (found.status_code, "operate" in found.json()["detail"]) == (403, True)
    assert sorted((item.key, item.size) for item in shop.store.list("")) == before


def test_a_rollback_is_journaled_by_the_owner_of_the_token(client, shop):
    left = read_current(shop.store, shop.target).release_id
    dry = ask(client, "rollback", {"reason": "looks wrong", "dry_run": True}).json()
    assert (dry["entry"], read_current(shop.store, shop.target).release_id) == (None, left)
    done = ask(client, "rollback", {"reason": "looks wrong"}).json()
    assert read_current(shop.store, shop.target).release_id == done["entry"]["after"] != left
    assert (newest(shop).actor, newest(shop).reason) == ("operate of ann", "looks wrong")
    refused = ask(client, "rollback", {"reason": "again", "to": "deadbeef"})
    assert (refused.status_code, "deadbeef" in refused.json()["detail"]) == (409, True)
    slip = ask(client, "rollback", {"reason": "again", "to": "yesterday"})
    assert (slip.status_code, "not a destination" in slip.json()["detail"]) == (422, True)


def test_holding_and_releasing(client, shop):
    assert ask(client, "hold", {"reason": "sale", "until": "2100-01-01T00:00:00Z"}).status_code == 200
    assert read_hold(shop.store, shop.target).until.startswith("2100-01-01")
    assert ask(client, "release-hold", {"reason": "over"}).status_code == 200
    assert read_hold(shop.store, shop.target) is None
    assert ask(client, "hold", {"reason": "sale", "until": "tomorrow"}).status_code == 422
    assert ask(client, "hold", {"reason": ""}).status_code == 422


def test_pinning_marking_and_naming(client, shop):
    store, target, live = shop.store, shop.target, read_current(shop.store, shop.target).release_id
    order = {"reason": "audit", "release": "live"}
    assert ask(client, "pin", {**order, "until": "2100-01-01T00:00:00Z"}).status_code == 200
    assert find_label(store, target, Labelled.PINNED, live).until.startswith("2100")
    assert ask(client, "tags/champion", order, method="PUT").status_code == 200
    assert find_tag(store, target, "champion").release == live
    assert ask(client, "mark-bad", {**order, "release": "champion"}).status_code == 200
    assert find_label(store, target, Labelled.BAD, live) is not None
    for path in ("unpin", "unmark-bad"):
        assert ask(client, path, order).status_code == 200
    assert [find_label(store, target, label, live) for label in Labelled] == [None, None]
    assert ask(client, "tags/champion", method="DELETE", reason="over").status_code == 200
    assert find_tag(store, target, "champion") is None
    assert ask(client, "tags/previous", order, method="PUT").status_code == 422
    assert ask(client, "pin", {**order, "release": "deadbeef"}).status_code == 409


def test_a_candidate_is_tested_and_imported_from_the_body(client, shop):
    passed = ask(client, "tests", GOOD, kind="vectors", name="better.jsonl").json()
    assert (passed["passed"], passed["registered"], passed["entry"]["action"]) == (True, False, "test")
    assert "better.jsonl" in newest(shop).details["message"]
    refused = ask(client, "tests", b'{"item":"i1"}\n', kind="vectors", reason="new model").json()
    assert (refused["passed"], newest(shop).outcome, newest(shop).reason) == (False, "refused", "new model")
    assert [one["gate"] for one in refused["gates"]["findings"] if one["verdict"] == "refused"] == ["contract"]
    broken = ask(client, "tests", b"{", kind="vectors")
    assert (broken.status_code, newest(shop).outcome) == (422, "refused")
    assert ask(client, "imports", GOOD, kind="vectors", day="2026-01-09", dry_run="true").json()["entry"] is None
    lost = ask(client, "imports", GOOD, kind="vectors", day="2026-01-09", parent="0" * 26)
    assert (lost.status_code, "imports.vectors.hierarchy" in lost.text) == (422, True), lost.text
    done = ask(client, "imports", GOOD, kind="vectors", day="2026-01-09").json()
    assert (done["registered"], done["passed"], newest(shop).action) == (True, True, "import")
    assert shop.store.stat("staging/shop/home/2026-01-09/vectors.json") is not None
    assert ask(client, "tests", GOOD, kind="tags").status_code == 422
    assert ask(client, "tests", kind="vectors").status_code == 422
    shipped = ask(client, "ship", {"day": "2026-01-09", "reason": "it is good"})
    assert (shipped.status_code, "2026-01-09" in shipped.json()["detail"]) == (409, True), "only the import is there"


def test_an_unknown_target_is_not_found(client):
    headers = {"Authorization": "Bearer operate"}
    path = "/api/v1/targets/shop/elsewhere/hold"
    assert client.request("POST", path, content=b'{"reason":"x"}', headers=headers).status_code == 404


def test_webhooks_hear_of_what_was_done(shop, monkeypatch, settings):
    with open_inbox() as inbox:
        hook = f'[[webhooks]]\nname = "team"\nurl = "{address(inbox)}"\n'
        file = settings.base / "recsys.toml"
        file.write_text(hook + file.read_text())
        token = TokenSettings(name="ann", sha256=hashlib.sha256(b"operate").hexdigest(), scopes=("operate",))
        hooked = load_settings(str(file)).model_copy(update={"api": ApiSettings(tokens=(token,))})
        monkeypatch.delenv("RECSYS_WEBHOOK_URL", raising=False)
        ask(Client(make_application(ApiContext(shop.store, hooked))), "hold", {"reason": "sale"})
        assert [json.loads(body)["actor"] for _, body in inbox.received] == ["ann"]
