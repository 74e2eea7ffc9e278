"""The command that serves the read API and its web page; it needs the store alone, neither Dagster nor a database."""

import click

from recsys_assets.api.application import make_application
from recsys_assets.api.site import Site
from recsys_assets.cli.options import config_option, open_place

BACKLOG = 200  # requests under way; more are answered 503


@click.command("api")
@config_option
@click.option("--port", required=True, type=click.IntRange(0, 65_535), help="port to listen on; 0 takes a free one")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="address to listen on; it asks nobody who they are"
)
def run_api(*, config: str | None, port: int, host: str) -> int:
    """Serve what is live, what was, and every artifact, to read: a web page at /, an API at /v1, /openapi.json."""
    import uvicorn  # noqa: PLC0415 - the other commands need no server

    place = open_place(config=config, tenant=None, surface=None)
    site = Site(place.store, place.settings)
    uvicorn.run(
        make_application(site),
        host=host,
        port=port,
        log_level="info",
        server_header=False,
        limit_concurrency=BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    return 0
