"""Webhooks: every event reaches each receiver in order, signed, though receivers, processes and answers fail."""

import base64
import hashlib
import hmac
import json
from contextlib import suppress
from datetime import timedelta

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, RefusedError
from recsys_assets.observability.webhooks import deliver, sign
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled
from recsys_assets.release.layout import pointer_key, webhook_key
from recsys_assets.release.marking import mark
from recsys_assets.release.rollback import roll_back
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.inbox import address, open_inbox
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "a bad night")
TARGETS = '[partitions]\nstart = 2026-03-01\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
FROM_JOURNAL = ["ship", "refused", "roll_back", "hold", "release_hold", "pin"]


@pytest.fixture(scope="module")
def server():
    with open_inbox() as opened:
        yield opened


@pytest.fixture
def inbox(server, monkeypatch):
    monkeypatch.delenv("RECSYS_WEBHOOK_URL", raising=False)
    server.received.clear()
    server.headers.clear()
    server.refuses, server.hangs_up, server.leads_to = False, False, None
    return server


@pytest.fixture
def shop():
    return Shop(MemoryStore())


def settings(inbox, folder, more=""):
    hook = f'[[webhooks]]\nname = "team"\nurl = "{address(inbox)}"\n{more}'
    return parse_settings(f"{hook}\n{TARGETS}".encode(), name="recsys.toml", base=folder)


def send(shop, configured, **more):
    return deliver(shop.store, configured, configured.targets, now=shop.clock, look_at_freshness=False, **more)


def events(inbox):
    return [json.loads(body)["event"] for _, body in inbox.received]


def a_busy_night(shop):
    shop.ship(0)
    with suppress(RefusedError):
        shop.publish(1)
    shop.ship(1)
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    mark(shop.store, TARGET, Labelled.PINNED, "live", by=ANN, now=shop.clock)


def test_a_signature_is_that_of_standard_webhooks():
    # The example of its reference implementations.
    secret, message = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek"
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, message, 1614265330, b'{"test": 2432232314}') == expected
    with pytest.raises(ConfigurationError, match="not base64"):
        sign("whsec_?", message, 0, b"")


def test_what_happens_to_a_target_is_sent_once_in_order_and_signed(shop, inbox, tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_SECRET", "s3cret")
    configured = settings(inbox, tmp_path, 'secret = "env:TEAM_SECRET"')
    assert send(shop, configured) == ()
    a_busy_night(shop)
    assert send(shop, configured) == send(shop, configured) == ()
    assert events(inbox) == ["ship", "refused", "ship", "roll_back", "hold", "hold", "release_hold", "pin"]
    first = json.loads(inbox.received[3][1])
    assert (first["target"], first["actor"], first["reason"]) == ("shop/home", "ann", "a bad night")
    assert first["before"] != first["after"]
    for (_, body), headers in zip(inbox.received, inbox.headers, strict=True):
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.new(b"s3cret", text, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{signature}"
    assert len({headers["webhook-id"] for headers in inbox.headers}) == len(inbox.received)


def test_a_new_receiver_hears_of_the_newest_thing_and_not_of_the_past(shop, inbox, tmp_path):
    a_busy_night(shop)
    send(shop, settings(inbox, tmp_path))
    assert events(inbox) == ["pin"]


def test_only_what_was_asked_for_is_sent(shop, inbox, tmp_path):
    configured = settings(inbox, tmp_path, 'events = ["roll_back", "hold"]')
    send(shop, configured)
    a_busy_night(shop)
    send(shop, configured)
    assert events(inbox) == ["roll_back", "hold", "hold"]


@pytest.mark.parametrize("how", ["refuses", "hangs_up"])
def test_what_a_receiver_did_not_take_is_sent_later_in_order_with_the_same_id(shop, inbox, tmp_path, how):
    configured = settings(inbox, tmp_path)
    send(shop, configured)
    a_busy_night(shop)
    setattr(inbox, how, True)
    (fault,) = send(shop, configured)
    assert "webhook team, shop/home" in fault
    tried = len(inbox.received)
    shop.clock.at -= timedelta(minutes=2)
    assert (send(shop, configured), len(inbox.received)) == ((), tried), "it is left alone for a while"
    setattr(inbox, how, False)
    shop.clock.at += timedelta(hours=1)
    assert send(shop, configured) == ()
    assert events(inbox)[tried:] == ["ship", "refused", "ship", "roll_back", "hold", "hold", "release_hold", "pin"]
    ids = [headers["webhook-id"] for headers in inbox.headers]
    assert ids[:tried] == ids[tried : 2 * tried]


def test_a_receiver_that_stays_down_keeps_later_events_back_no_longer_than_it_may(shop, inbox, tmp_path):
    configured = settings(inbox, tmp_path, "give_up_hours = 24")
    shop.ship(0)
    send(shop, configured)
    shop.ship(1)
    inbox.refuses = True
    send(shop, configured)
    shop.clock.at += timedelta(days=2)
    (fault,) = send(shop, configured)
    assert "was dropped: it answered 503" in fault
    inbox.refuses = False
    shop.ship(2)
    inbox.received.clear()
    assert send(shop, configured) == ()
    assert events(inbox) == ["ship"]


def test_a_redirect_is_not_followed_and_the_address_is_never_named(shop, inbox, tmp_path):
    inbox.leads_to = address(inbox) + "/elsewhere"
    shop.ship(0)
    (fault,) = send(shop, settings(inbox, tmp_path))
    assert "it answered 307" in fault
    assert address(inbox) not in fault
    assert [path for path, _ in inbox.received] == ["/hook"]


def test_a_target_that_turns_stale_is_reported_once_again_when_its_cause_changes_and_when_it_is_fresh(
    shop, inbox, tmp_path
):
    configured = settings(inbox, tmp_path, 'events = ["target_stale", "target_fresh"]')
    rows = configured.targets
    shop.ship(0)
    for _ in range(2):
        deliver(shop.store, configured, rows, now=shop.clock)
    assert [json.loads(body)["cause"] for _, body in inbox.received] == ["input_missing"]
    shop.store.put(pointer_key(TARGET), b"{")
    deliver(shop.store, configured, rows, now=shop.clock)
    assert [json.loads(body)["cause"] for _, body in inbox.received[1:]] == ["damaged"]
    shop.store.delete(pointer_key(TARGET))
    shop.ship(8)
    deliver(shop.store, configured, rows, now=shop.clock)
    assert events(inbox) == ["target_stale", "target_stale", "target_fresh"]


def test_a_damaged_document_of_a_receiver_stops_nothing(shop, inbox, tmp_path):
    shop.ship(0)
    shop.store.put(webhook_key(TARGET, "team"), b"{")
    assert send(shop, settings(inbox, tmp_path)) == ()
    assert send(shop, settings(inbox, tmp_path)) == ()
    assert events(inbox) == ["ship"]


def test_a_secret_that_is_not_there_is_named_and_nothing_is_sent(shop, inbox, tmp_path):
    shop.ship(0)
    (fault,) = send(shop, settings(inbox, tmp_path, 'secret = "env:NOT_THERE"'))
    assert "$NOT_THERE is not set" in fault
    assert inbox.received == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        pytest.param('targets = ["shop/hmoe"]', "known: shop/home", id="unknown target"),
        pytest.param('events = ["shipped"]', "target_fresh", id="unknown event"),
        pytest.param('secret = "plain"', "secret", id="secret in the file"),
        pytest.param('[[webhooks]]\nname = "team"\nurl = "http://x"', "the same name", id="two of one name"),
    ],
)
def test_a_wrong_table_is_reported(inbox, tmp_path, more, message):
    with pytest.raises(ConfigurationError, match=message):
        settings(inbox, tmp_path, more)


def test_a_command_sends_what_it_did_and_a_receiver_that_is_down_fails_no_command(inbox, tmp_path):
    hook = f'[[webhooks]]\nname = "team"\nurl = "{address(inbox)}"\n[storage]\nroot = "store"\n'
    (tmp_path / "recsys.toml").write_text(hook + TARGETS)
    Shop(FilesystemStore(tmp_path / "store")).ship(0)

    def call(name, *words):
        on = ("--config", str(tmp_path / "recsys.toml"), "--tenant", "shop", "--surface", "home")
        return CliRunner().invoke(recsys_assets, [name, *on, *words])

    assert call("hold", "--reason", "sale").exit_code == 0
    assert events(inbox) == ["hold"]
    inbox.refuses = True
    done = call("release-hold", "--reason", "over")
    assert (done.exit_code, "warning: webhook team, shop/home: it answered 503" in done.output) == (0, True)
    inbox.refuses = False
    store = FilesystemStore(tmp_path / "store")
    state = json.loads(store.get(webhook_key(TARGET, "team"), max_bytes=9999).data)
    store.put(webhook_key(TARGET, "team"), json.dumps({**state, "retry_at": None}).encode())
    assert "everything is delivered" in call("deliver").output
    assert events(inbox) == ["hold", "release_hold", "release_hold", "target_stale"]
    call("hold", "--reason", "sale", "--dry-run")
    assert len(inbox.received) == 4
