"""`recsys-assets report`: what a release is and what changed with it, on one page."""

import click
from rich.console import Console
from rich.markdown import Markdown

from recsys_assets.cli.options import json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json
from recsys_assets.messages import printable
from recsys_assets.release.pointer import read_current
from recsys_assets.upkeep.diff import LIVE, read_named
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import to_markdown


@click.command("report")
@target_options
@json_option
@click.option("--release", default=LIVE, show_default=True, help="a release id, 8 digits or more of it, or live")
def show_report(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool, release: str) -> None:
    """Report on one page what a release changed, what its gates found, and its inputs; Markdown when piped."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    record, current = read_named(context.store, context.target, release), read_current(context.store, context.target)
    live = current is not None and current.release_id == record.id
    page = report_release(context.store, context.target, record, live=live)
    if as_json:
        print_json(page)
        return
    text, console = printable(to_markdown(page)), Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        echo(text, nl=False)
