"""Secrets stay secret: planted in every place that takes one, they appear in no output, log, record or error."""

import socket
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs.alerts import WEBHOOK, post
from recsys_assets.errors import ConfigurationError, RecsysAssetsError
from recsys_assets.ingest.pseudonyms import UserKey
from recsys_assets.observability.export_metrics import export_metrics
from recsys_assets.postgres.client import connected
from recsys_assets.release.documents import ForgottenUsersKey
from recsys_assets.release.forgotten_users import ForgottenUsers
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.open import open_store
from recsys_assets_tests.small_shop import FIRST, day_lines, open_shop

PLANTED = "pl4nted"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
ANSWERS = [
    pytest.param(b"this is no HTTP at all\r\n\r\n", id="no HTTP"),
    pytest.param(b"", id="hangs up"),
    pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", id="500"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n" + b"\xff" * 99, id="garbled headers"),
    pytest.param(b"HTTP/1.1 302 Found\r\nLocation: gopher://x\r\nContent-Length: 0\r\n\r\n", id="leads elsewhere"),
]


@contextmanager
def answering(data):
    """A server that answers each request with these bytes; yields its host and port."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1_000_000)
                connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def chain(error):
    """Everything that a traceback shows of an error."""
    while error is not None:
        yield f"{error} {error!r} {getattr(error, 'description', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def settings_with(push, tmp_path):
    return parse_settings(f'[metrics]\npush = "{push}"\n{TARGET}'.encode(), name="recsys.toml", base=tmp_path)


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_pushgateway_that_garbles_is_a_fault_and_no_exception(answer, tmp_path):
    with answering(answer) as host:
        settings = settings_with(f"http://user:{PLANTED}@{host}", tmp_path)
        faults = export_metrics(MemoryStore(), settings, settings.targets, day=None, run=None, now=NOW)
    if faults:  # a client may take headers that are odd for an answer
        (fault,) = faults
        assert "metrics.push" in fault
        assert PLANTED not in fault
    else:
        assert b"200 OK" in answer
    assert PLANTED not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "push", ["user:{0}@h", "ftp://{0}@h", "http://u:{0}@h:port", "http://{0}@[", "http://u:{0}@h\tx"]
)
def test_an_address_that_is_none_is_reported_without_it(push, tmp_path):
    settings = settings_with(push.format(PLANTED).replace("\t", "\\t"), tmp_path)
    (fault,) = export_metrics(MemoryStore(), settings, settings.targets, day=None, run=None, now=NOW)
    assert "metrics.push" in fault
    assert PLANTED not in fault


def test_the_password_is_sent_to_the_gateway(tmp_path):
    received = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take():
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(1_000_000))
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=take)
        thread.start()
        settings = settings_with(f"http://user:p%40ss@127.0.0.1:{server.getsockname()[1]}/below", tmp_path)
        assert export_metrics(MemoryStore(), settings, settings.targets, day=None, run=None, now=NOW) == ()
        thread.join()
    assert received[0].startswith(b"PUT /below/metrics/job/recsys_assets/part/store/target/shop__home HTTP/1.1")
    assert b"Authorization: Basic dXNlcjpwQHNz" in received[0]


@pytest.mark.parametrize("line", ['[metrics]\npush = ["{0}"]\n', 'metrics = "{0}"\n', '[raw]\nuser_key = "{0}"\n'])
def test_findings_about_the_configuration_do_not_show_it(line, tmp_path):
    with pytest.raises(ConfigurationError) as error:
        parse_settings((line.format(PLANTED) + TARGET).encode(), name="recsys.toml", base=tmp_path)
    assert PLANTED not in str(error.value)


@pytest.mark.parametrize("answer", ANSWERS[:3])
@pytest.mark.parametrize("url", ["http://{1}/{0}", "http://u:{0}@{1}/", "http://[{0}/", "http://h:{0}/"])
def test_no_fault_of_the_webhook_shows_its_address(answer, url, monkeypatch):
    with answering(answer) as host:
        monkeypatch.setenv(WEBHOOK, url.format(PLANTED, host))
        with pytest.raises(dg.Failure) as error:
            post({"text": "hello"})
    assert PLANTED not in " ".join(chain(error.value))


@pytest.mark.parametrize(
    "url", ["postgresql://u:{0}@127.0.0.1:1/x", "postgresql://u:{0}@[x", "postgresql://u:{0}@h:x/y"]
)
def test_no_fault_of_a_database_shows_its_password(url, monkeypatch):
    monkeypatch.setenv("RECSYS_TEST_URL", url.format(PLANTED))
    with pytest.raises(RecsysAssetsError) as error, connected("RECSYS_TEST_URL", what="test"):
        pass
    assert PLANTED not in " ".join(chain(error.value))


def test_no_fault_of_a_bucket_shows_its_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, PLANTED)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{PLANTED}@127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="a user or a password") as refused:
        open_store("s3://bucket/below")
    assert PLANTED not in " ".join(chain(refused.value))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_store("s3://bucket/below")
    for call in (lambda: store.get("a", max_bytes=1), lambda: list(store.list("")), lambda: store.put("a", b"")):
        with pytest.raises(RecsysAssetsError) as error:
            call()
        assert PLANTED not in " ".join(chain(error.value))


@pytest.mark.parametrize(
    "holder",
    [UserKey(PLANTED.encode() * 9), ForgottenUsers(PLANTED.encode()), ForgottenUsersKey(key=PLANTED)],
    ids=lambda holder: type(holder).__name__,
)
def test_what_holds_a_secret_does_not_print_it(holder):
    assert PLANTED not in f"{holder} {holder!r} {[holder]}"


@pytest.mark.slow
def test_a_run_that_shipped_ends_well_beside_a_gateway_that_garbles_and_shows_no_secret(
    tmp_path, capfd, monkeypatch
):  # F67
    monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:1/{PLANTED}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "RECSYS_POSTGRES_URL"):
        monkeypatch.setenv(name, PLANTED)
    monkeypatch.setenv("RECSYS_USER_KEY", PLANTED * 9)
    with dg.DagsterInstance.ephemeral() as instance, answering(b"no HTTP\r\n\r\n") as host:
        shop = open_shop(tmp_path, instance)
        shop.configure(f'[metrics]\npush = "http://user:{PLANTED}@{host}"\n')
        file = shop.folder / "recsys.toml"
        file.write_text(file.read_text().replace("[raw]\n", '[raw]\nuser_key = "env:RECSYS_USER_KEY"\n', 1))
        shop.write(FIRST, day_lines(FIRST))
        config = ["--config", str(file)]
        assert recsys_assets.main(["run", *config, "--start", str(FIRST)], standalone_mode=False) == 0
        assert recsys_assets.main(["status", *config], standalone_mode=False) == 0
        logs = [str(entry) for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    out, err = capfd.readouterr()
    assert "the Pushgateway did not accept the metrics" in err
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert files
    for text in [out, err, *logs, *(path.read_bytes().decode(errors="replace") for path in files)]:
        assert PLANTED not in text
