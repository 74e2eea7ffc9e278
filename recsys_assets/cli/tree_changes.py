"""Commands that change artifact trees: save, revise, delete, restore. Also the decorator of all tree commands."""

import mimetypes
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import msgspec

from recsys_assets.api.node_forms import split_data, view_node
from recsys_assets.cli.options import (
    acting,
    actor_option,
    actor_options,
    config_option,
    dry_run_option,
    json_option,
    open_command_store,
    text_type,
)
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import InvalidNodeError
from recsys_assets.release.journal import Actor
from recsys_assets.settings.reading import load_settings
from recsys_assets.trees.content import ARROW, JSON_LINES, PARQUET, Content
from recsys_assets.trees.tree import ArtifactTree, open_trees
from recsys_assets.trees.tree_lookup import named_tree, tree_of_node
from recsys_assets.trees.tree_reader import NodeRevision

_TYPES: Final = {".parquet": PARQUET, ".arrow": ARROW, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}

Trees: TypeAlias = Mapping[str, ArtifactTree]

hierarchy_option = click.option("--hierarchy", help="name of the tree; optional if there is only one")
_expected_option = click.option("--expected", metavar="ETAG", help="fail unless the newest revision has this etag")
_GIVEN: Final = (
    click.option(
        "--data", type=click.File("rb"), help="file with the node's data, a JSON object; - reads standard input"
    ),
    click.option(
        "--metadata",
        "fields",
        multiple=True,
        metavar="NAME=VALUE",
        help="metadata field, as text; repeatable",
    ),
    click.option(
        "--content",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="file stored as the node's content",
    ),
    click.option("--content-type", help="content type of the file  [default: by its extension]"),
    click.option("--reason", type=text_type, help="reason, recorded in the log"),
    actor_option,
)


class NodeInput(msgspec.Struct, frozen=True):
    """Data and content for a node, with the actor."""

    data: dict[str, Any] | None
    fields: Mapping[str, str]
    content: Content | None
    by: Actor

    def over(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """Return the new data, or `before` if there is none, with the metadata fields applied."""
        data = dict(before if self.data is None else self.data)
        if "type" in data:
            return {**data, "metadata": {**data.get("metadata", {}), **self.fields}}
        return {**data, **self.fields}


def on_trees(name: str) -> Callable[[Callable[..., int | None]], click.Command]:
    """Return a decorator that makes a function of the configured trees a command called `name`."""

    def decorate(act: Callable[..., int | None]) -> click.Command:
        @click.command(name)
        @config_option
        @json_option
        @wraps(act)
        def command(*, config: str | None, **own: Any) -> int | None:
            settings = load_settings(config)
            return act(open_trees(open_command_store(settings), settings), **own)

        return command

    return decorate


def _takes_data(act: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add the options of data and content, which are passed to the function as a `NodeInput`."""

    @wraps(act)
    def command(
        trees: Trees,
        *,
        data: Any,
        fields: tuple[str, ...],
        content: Path | None,
        content_type: str | None,
        reason: str | None,
        actor: str | None,
        **own: Any,
    ) -> int | None:
        plain, inline = (None, None) if data is None else split_data(_document(data))
        node_content = _content(content, content_type) or inline
        by = acting(actor, reason or click.get_current_context().command_path)
        return act(trees, given=NodeInput(plain, dict(map(pair_of, fields)), node_content, by), **own)

    for option in reversed(_GIVEN):
        command = option(command)
    return command


@on_trees("save")
@hierarchy_option
@click.option("--parent", help="id of the parent node; default: the node is a root")
@click.option("--id", "chosen", help="ULID of the node; default: a new one")
@_takes_data
def save_node(
    trees: Trees, *, given: NodeInput, hierarchy: str | None, parent: str | None, chosen: str | None, as_json: bool
) -> None:
    """Save a new node with data from a file or from fields, and optional content."""
    of = named_tree(trees, hierarchy) if parent is None or hierarchy else tree_of_node(trees, parent)
    made = of.save(given.over({}), parent=parent, content=given.content, node=chosen, by=given.by)
    _report(made, "saved", as_json=as_json)


@on_trees("revise")
@click.argument("node")
@_expected_option
@_takes_data
def revise_node(trees: Trees, *, given: NodeInput, node: str, expected: str | None, as_json: bool) -> None:
    """Create a new revision of a NODE. Omitted parts are kept, and older revisions stay readable."""
    if given.data is None and given.content is None and not given.fields:
        raise click.UsageError("nothing to change: pass --data, --metadata or --content")
    of = tree_of_node(trees, node)
    before = of.find(node)
    expected = (
        before.etag if expected is None and given.data is None else expected
    )  # fields are merged into the revision that was read
    made = of.revise(node, given.over(before.document.data), content=given.content, expected=expected, by=given.by)
    _report(made, "revised", as_json=as_json)


@on_trees("delete")
@click.argument("node")
@_expected_option
@actor_options
@dry_run_option
def delete_node(
    trees: Trees, *, node: str, expected: str | None, reason: str, actor: str | None, dry_run: bool, as_json: bool
) -> None:
    """Move a NODE to the trash, from which `restore` recovers it. Refused while it has children."""
    of = tree_of_node(trees, node)
    if dry_run:
        of.look(lambda state: state.refuse_children(node))
    else:
        of.delete(node, expected=expected, by=acting(actor, reason))
    message = f"node {node} {'would be' if dry_run else 'is'} in the trash until collected after the grace period"
    print_json({"id": node, "message": message}) if as_json else echo(message)


@on_trees("restore")
@click.argument("node")
@actor_options
def restore_node(trees: Trees, *, node: str, reason: str, actor: str | None, as_json: bool) -> None:
    """Restore a NODE from the trash below its former parent."""
    made = tree_of_node(trees, node, deleted=True).restore(node, by=acting(actor, reason))
    _report(made, "restored", as_json=as_json)


def _report(node: NodeRevision, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(view_node(node))
        return
    below = f", below {node.document.parent}" if node.document.parent else ""
    echo(f"{done} {node.label} {node.id}, revision {node.document.revision}{below}")


def pair_of(text: str) -> tuple[str, str]:
    """Return the name and the value of NAME=VALUE. Other text raises `BadParameter`, a usage error."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE, such as status=success", param_hint="--metadata")
    return name, value


def _document(file: Any) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidNodeError(f"--data is not a JSON object: {error}") from error


def _content(file: Path | None, content_type: str | None) -> Content | None:
    if file is None:
        if content_type is not None:
            raise click.UsageError("--content-type describes --content: pass both")
        return None
    guessed = _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    content = Content(file.read_bytes(), content_type or guessed)
    from recsys_assets.api.table_formats import is_table, open_table  # noqa: PLC0415 - other commands do not read rows

    if is_table(content.content_type):
        open_table(content.data, content.content_type, name=str(file))
    return content
