"""Saving nodes of artifact trees from asset bodies, without an I/O manager, with the node as metadata."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from recsys_assets.dagster_defs.attempts import translate_errors
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import ConfigurationError
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.trees.content import Content
from recsys_assets.trees.tree import open_trees
from recsys_assets.trees.tree_lookup import named_tree
from recsys_assets.trees.tree_reader import NodeRevision

NODE: Final = "recsys/node"  # metadata key of the node id


def save_node(
    context: dg.AssetExecutionContext,
    data: Mapping[str, Any],
    *,
    hierarchy: str,
    parent: str | dg.AssetKey | None = None,
    content: Content | None = None,
    settings: Settings | None = None,
) -> dg.MaterializeResult[Any]:
    """Save the result of an asset as a node of a configured hierarchy, and return it with the node id as metadata.

    `parent` is a node id, or the key of an asset, whose newest node is used. A retried step saves no second node. The
    default of `settings` is the configuration in $RECSYS_CONFIG. Raises `dg.Failure` for errors that a rerun cannot fix
    (data, parent, hierarchy), `dg.RetryRequested` for others.
    """
    settings = settings or load_settings(None)
    with translate_errors():
        trees = open_trees(RunStore(settings).store, settings)
        tree = named_tree(trees, hierarchy)
        name = context.asset_key.to_user_string()
        partition = context.partition_key if context.has_partition_key else ""
        node = tree.save(
            data,
            parent=_newest_node(context, parent) if isinstance(parent, dg.AssetKey) else parent,
            content=content,
            origin=f"dagster:{context.run.run_id}/{name}/{partition}",
            by=Actor(this_account(), f"asset {name} {partition}".rstrip(), context.run.run_id),
        )
    return dg.MaterializeResult(metadata=_shown(node, settings))


def _newest_node(context: dg.AssetExecutionContext, key: dg.AssetKey) -> str:
    """Return the id of the node that an asset saved last. Raises `ConfigurationError` if there is none."""
    event = context.instance.get_latest_materialization_event(key)
    value = event.asset_materialization.metadata.get(NODE) if event and event.asset_materialization else None
    if value is None or not isinstance(value.value, str):
        raise ConfigurationError(f"asset {key.to_user_string()} has saved no node yet: materialize it first")
    return value.value


def _shown(node: NodeRevision, settings: Settings) -> dict[str, dg.MetadataValue[Any]]:
    document = node.document
    shown: dict[str, dg.MetadataValue[Any]] = {
        NODE: dg.MetadataValue.text(node.id),
        "recsys/hierarchy": dg.MetadataValue.text(document.hierarchy),
        "recsys/level": dg.MetadataValue.text(node.label),
    }
    if document.content is not None:
        shown["recsys/bytes"] = dg.MetadataValue.int(document.content.size)
    if settings.api.url is not None:
        shown["recsys/page"] = dg.MetadataValue.url(f"{settings.api.url.rstrip('/')}/trees/{node.id}")
    return shown
