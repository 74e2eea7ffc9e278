"""Access to what changes something: which token may act, what is refused without, and the command that makes one."""

import hashlib
import tomllib
from dataclasses import replace

import pytest
from click.testing import CliRunner

from recsys_assets.api.actions import Action, ActionRequest, ActionResponse
from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import NoQuery, TargetQuery
from recsys_assets.cli.api import print_token
from recsys_assets.identity import Target
from recsys_assets.settings.outputs import ApiSettings, TokenSettings
from recsys_assets.upkeep.heartbeats import read_heartbeats
from recsys_assets_tests.api.conftest import Client


def token(secret, *scopes):
    return TokenSettings(name=secret, sha256=hashlib.sha256(secret.encode()).hexdigest(), scopes=scopes)


class Note(NoQuery, frozen=True, kw_only=True):
    """A body with one field."""

    text: str


def leave_note(_: ApiContext, request: ActionRequest) -> ActionResponse:
    """Answer with who asked, for what, and the text of the body."""
    return ActionResponse(
        {"by": request.by, "surface": request.query.surface, "text": request.read(Note).text}, status=201
    )


PATH = "/v1/targets/{tenant}/{surface}/notes"
ACTION = Action("POST", PATH, "operate", TargetQuery, Note, dict, leave_note, status=201, max_bytes=100)


@pytest.fixture
def opened(store, settings):
    """A client of an API with one action."""

    def opened(*tokens, **changed):
        guarded = settings.model_copy(update={"api": ApiSettings(tokens=tokens)})
        return Client(make_application(ApiContext(store, guarded), actions=(replace(ACTION, **changed),)))

    return opened


def post(client, secret, body=b'{"text": "x"}'):
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return client.request("POST", "/v1/targets/shop/home/notes", content=body, headers=headers)


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(("read",), 403), (("write",), 403), (("read", "write"), 403), (("operate",), 201), (("read", "operate"), 201)],
)
def test_an_action_is_taken_for_a_token_with_its_scope_alone(opened, scopes, status):
    answer = post(opened(token("anna", *scopes)), "anna")
    assert answer.status_code == status
    if status == 201:
        assert answer.json() == {"by": "anna", "surface": "home", "text": "x"}
        assert answer.headers["cache-control"] == "no-store"
    else:
        assert "lacks the scope operate" in answer.json()["detail"]


def test_without_tokens_everybody_reads_and_nobody_writes(opened):
    answer = post(opened(), None)
    assert answer.status_code == 403
    assert "recsys-assets token" in answer.json()["detail"]
    assert post(opened(scope="read"), None).status_code == 201


def test_an_unknown_token_is_401_whatever_it_asks(opened):
    assert post(opened(token("anna", "operate")), "eve").status_code == 401
    assert post(opened(token("anna", "operate"), scope="read"), None).status_code == 401


def test_a_body_is_bounded_and_checked(opened):
    client = opened(token("anna", "operate"))
    assert post(client, "anna", b'{"text": "' + b"x" * 100 + b'"}').status_code == 422
    for body in (b"", b"{}", b'{"text": 1}', b'{"text": "x", "more": 1}', b"\xff", b"[" * 99):
        answer = post(client, "anna", body)
        assert answer.status_code == 422
        assert "body" in answer.json()["detail"]


def test_what_is_no_method_of_an_address_is_405_with_those_that_are(opened):
    answer = opened(token("anna", "read")).request(
        "PUT", "/v1/targets/shop/home/notes", headers={"Authorization": "Bearer anna"}
    )
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_token_that_the_command_makes_is_accepted_with_the_table_that_it_prints():
    done = CliRunner().invoke(print_token, ["--name", 'Anna "A"', "--scope", "read", "--scope", "operate"])
    secret, _, table = done.output.partition("\n")
    made = ApiSettings.model_validate(tomllib.loads(table)["api"]).tokens[0]
    assert (made.name, made.scopes) == ('Anna "A"', ("read", "operate"))
    assert made.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in table
    assert CliRunner().invoke(print_token, ["--name", "x"]).output.partition("\n")[0] != secret


BEAT = {
    "consumer": "go-7",
    "release": "0a" * 32,
    "answers": [{"release": "0a" * 32, "kinds": {"cooc": {"asked": 1200, "empty": 3, "unknown": 44}}}],
}


def test_a_service_in_another_language_sends_its_counts_with_a_token(store, settings):
    guarded = settings.model_copy(update={"api": ApiSettings(tokens=(token("go", "write"), token("anna", "read")))})
    client = Client(make_application(ApiContext(store, guarded)))

    def send(secret, **changed):
        headers = {"Authorization": f"Bearer {secret}"}
        return client.request("POST", "/v1/targets/shop/home/heartbeats", json=BEAT | changed, headers=headers)

    for _ in range(2):  # what it says now stands in place of what it said before
        assert send("go").status_code == 204
    (beat,) = read_heartbeats(store, Target("shop", "home")).beats
    assert (beat.consumer, beat.release, beat.v) == ("go-7", BEAT["release"], 2)
    assert beat.answers[0].kinds["cooc"].without_items == 47
    assert send("anna").status_code == 403
    wrong = (
        {"consumer": "../x"},
        {"release": "x"},
        {"seen_at": "2026-01-01T00:00:00Z"},
        {"every_seconds": 1e9},
        {"answers": [{"release": "0a" * 32, "kinds": {"cooc": {"asked": 1, "empty": 2}}}]},
        {"state": "x" * 40_000},
    )
    assert [send("go", **one).status_code for one in wrong] == [422] * len(wrong)


def test_the_description_says_what_an_action_takes(opened):
    described = opened().get("/openapi.json").json()
    operation = described["paths"][PATH]["post"]
    assert operation["security"] == [{"token": []}]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/Note")
    assert {"201", "401", "403", "422"} <= operation["responses"].keys()
