"""Commands of the API: serve the API and its pages from the store, and create a token."""

from typing import get_args

import click
import tomlkit

from recsys_assets.api.access import allowed_hosts, check_transport, make_token
from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.cli.options import config_option, json_option, open_context, text_type
from recsys_assets.cli.output import echo, print_json
from recsys_assets.settings.outputs import Scope

MAX_HEAD_BYTES = 32_768  # Limit of request line and headers. Names and ids in URLs are short.
BACKLOG = 200  # Concurrent requests. Further ones get status 503.


@click.command("api")
@config_option
@click.option("--port", required=True, type=click.IntRange(0, 65_535), help="port to listen on; 0 picks a free one")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="address to listen on; without tokens in [api] every client that reaches it may read",
)
@click.option("--ssl-certfile", type=click.Path(exists=True, dir_okay=False), help="TLS certificate, passed to uvicorn")
@click.option(
    "--ssl-keyfile",
    type=click.Path(exists=True, dir_okay=False),
    help="private key of the certificate, passed to uvicorn",
)
def run_api(*, config: str | None, port: int, host: str, ssl_certfile: str | None, ssl_keyfile: str | None) -> int:
    """Serve the API at /v1 and /api/v1, the console at / and the description at /openapi.json."""
    import uvicorn  # noqa: PLC0415 - other commands do not need the server

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
@click.option("--name", type=text_type, required=True, help="owner of the token, as shown in logs and journals")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("read",),
    show_default=True,
    type=click.Choice(get_args(Scope)),
    help="permission of the token; repeatable",
)
@json_option
def print_token(*, name: str, scopes: tuple[Scope, ...], as_json: bool) -> int:
    """Create an API token, and print it with the table for recsys.toml that accepts it.

    The table contains only the hash. Store the token now: it cannot be shown again.
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
