"""A sink in DynamoDB, what is its own: conditions, what a busy table leaves undone, and what its errors mean."""

import pytest

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.sinks.dynamodb import DynamoSink
from recsys_assets_tests.sinks.conftest import TABLE, Place

pytestmark = pytest.mark.slow


@pytest.fixture
def own(dynamo_sink):
    return Place(dynamo_sink)


def test_a_swap_takes_what_was_read_or_is_its_own(own):
    own.check_swaps()


def answers(sink, operation, change):
    """Let what the server answered be changed on its way."""
    events = sink._client.meta.events
    name = f"after-call.dynamodb.{operation}"
    events.register(name, change)
    return lambda: events.unregister(name, change)


def test_what_a_busy_table_leaves_undone_is_sent_again_and_given_up_in_the_end(own):
    sent = []
    rows = {f"item {n}": b"{}" for n in range(30)}

    def leave_some(parsed, **_):
        sent.append(parsed)
        if len(sent) <= 2:
            parsed["UnprocessedItems"] = {TABLE: [{"PutRequest": {"Item": own.sink._item("b", "late", b"{}")}}]}

    stop = answers(own.sink, "BatchWriteItem", leave_some)
    own.sink.change_bucket(own.key, put=rows, remove=())
    assert len(sent) == 4  # two requests for 30 rows, and what was left twice
    assert own.sink.read_bucket(own.key) == rows
    sent.clear()

    def leave_all(parsed, **_):
        parsed["UnprocessedItems"] = {TABLE: [{"PutRequest": {"Item": own.sink._item("b", "late", b"{}")}}]}

    stop()
    stop = answers(own.sink, "BatchWriteItem", leave_all)
    try:
        with pytest.raises(StoreUnavailableError, match="throttles writes"):
            own.sink.change_bucket(own.key, put={"a": b"{}"}, remove=())
    finally:
        stop()


def test_a_bucket_of_several_pages_is_read_whole(own):
    rows = {f"item {n}": b'"%s"' % (b"x" * 300_000) for n in range(5)}
    own.sink.change_bucket(own.key, put=rows, remove=())
    assert own.sink.read_bucket(own.key) == rows


@pytest.mark.parametrize(("key", "value"), [("a", b"x" * 400_000), ("k" * 1025, b"{}")])
def test_a_row_that_no_item_can_hold_is_named_with_the_settings(own, key, value):
    with pytest.raises(InputError, match=r"390,000.*max_items_per_user.*sinks\.online\.kinds"):
        own.sink.change_bucket(own.key, put={key: value}, remove=())


@pytest.mark.usefixtures("dynamo")
def test_a_table_that_is_not_there_comes_with_the_command_that_makes_it():
    sink = DynamoSink("no-such-table", region=None, what="sinks.online")
    with pytest.raises(ConfigurationError, match=r"aws dynamodb create-table --table-name no-such-table"):
        sink.read_pointer("a")


@pytest.mark.usefixtures("dynamo")
def test_a_server_that_is_away_and_a_region_that_is_not_set_are_named(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    sink = DynamoSink(TABLE, region=None, what="sinks.online")
    sink._client.meta.events.register("needs-retry.dynamodb", lambda **_: None)
    with pytest.raises(StoreUnavailableError, match="still serves the same rows"):
        sink.read_pointer("a")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="region"):
        DynamoSink(TABLE, region=None, what="sinks.online")
