"""Commands of the API: serve it and its pages, from the store alone; make a token for it."""

from typing import get_args

import click
import tomlkit

from recsys_assets.api.access import allowed_hosts, check_transport, make_token
from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.cli.options import config_option, json_option, open_context, said_type
from recsys_assets.cli.output import echo, print_json
from recsys_assets.settings.api import Scope

MAX_HEAD_BYTES = 32_768  # of a request: names and ids in addresses are short
BACKLOG = 200  # requests under way; more are answered 503


@click.command("api")
@config_option
@click.option("--port", required=True, type=click.IntRange(0, 65_535), help="port to listen on; 0 takes a free one")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="address to listen on; without [api] tokens everybody who reaches it may read",
)
@click.option("--ssl-certfile", type=click.Path(exists=True, dir_okay=False), help="certificate for TLS, as uvicorn's")
@click.option("--ssl-keyfile", type=click.Path(exists=True, dir_okay=False), help="its private key, as uvicorn's")
def run_api(*, config: str | None, port: int, host: str, ssl_certfile: str | None, ssl_keyfile: str | None) -> int:
    """Serve what is live, what was, and every artifact, to read: a web page at /, an API at /v1, /openapi.json."""
    import uvicorn  # noqa: PLC0415 - the other commands need no server

    from recsys_assets.api.connections import BoundedConnection  # noqa: PLC0415 - as above

    context = open_context(config=config, tenant=None, surface=None)
    api_context, api = ApiContext(context.store, context.settings), context.settings.api
    check_transport(api, host=host, has_tls=ssl_certfile is not None)
    uvicorn.run(
        make_application(api_context, hosts=allowed_hosts(api, host=host)),
        host=host,
        port=port,
        log_level="info",
        server_header=False,
        limit_concurrency=BACKLOG,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        http=BoundedConnection,
        ws="none",
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        timeout_graceful_shutdown=5,
    )
    return 0


@click.command("token")
@click.option("--name", type=said_type, required=True, help="whose token it is, as logs and journals name it")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default=True,
    type=click.Choice(get_args(Scope)),
    help="what it may do; can be given several times",
)
@json_option
def print_token(*, name: str, scopes: tuple[Scope, ...], as_json: bool) -> int:
    """Make a token for the API, and print it with the table for recsys.toml that accepts it.

    The table holds the hash alone: keep the token where its user finds it, for it cannot be shown again.
    """
    token, digest = make_token()
    granted = tuple(dict.fromkeys(scopes))
    if as_json:
        print_json({"token": token, "name": name, "sha256": digest, "scopes": granted})
        return 0
    table = tomlkit.aot()
    table.append(tomlkit.item({"name": name, "sha256": digest, "scopes": list(granted)}))
    echo(f"{token}\n\n{tomlkit.dumps({'api': {'tokens': table}})}")
    return 0
