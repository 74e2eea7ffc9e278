"""Asset factory: key, group, partitions, owner, tags and timer, common to every asset of a day."""

from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.metadata import Metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key, asset_tags, daily_partitions, group_name, owner
from recsys_assets.evidence import Scalar
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

AssetDecorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def day_asset(
    settings: Settings,
    key: dg.AssetKey,
    *,
    group: str,
    kinds: Collection[str],
    owners: Sequence[str] | None = None,
    **own: Any,
) -> AssetDecorator:
    """Return the decorator of an asset with daily partitions. `own` are further arguments of `dg.asset`."""
    return dg.asset(
        key=key,
        group_name=group,
        partitions_def=daily_partitions(settings.partitions),
        kinds=set(kinds),
        owners=list(settings.owners if owners is None else owners),
        **own,
    )


def target_asset(
    settings: Settings,
    row: TargetSettings,
    name: str,
    *,
    kinds: Collection[str],
    about: Mapping[str, Any],
    tags: dict[str, str] | None = None,
    **own: Any,
) -> AssetDecorator:
    """Return the decorator of a target's asset `name`. `about` is its metadata, and `own` is passed to `dg.asset`."""
    return day_asset(
        settings,
        asset_key(row, name),
        group=group_name(row),
        kinds=kinds,
        owners=row.owners,
        metadata={**owner(row), **about},
        tags=asset_tags(row) | (tags or {}),
        **own,
    )


class Timer:
    """Stopwatch that adds `seconds` since its creation to the numbers of an asset."""

    def __init__(self) -> None:
        self._started = perf_counter()

    def numbers(self, values: Mapping[str, Scalar]) -> Metadata:
        """Return `seconds` and these scalars as metadata."""
        return numbers({"seconds": perf_counter() - self._started, **values})
