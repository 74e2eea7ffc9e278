"""Where the numbers of a target go: one file for node_exporter, replaced in one step, and a Pushgateway if told."""

import os
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from http import HTTPStatus
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from recsys_assets.errors import ConfigurationError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.observability.build_metrics import RunEnd, measure_run, measure_target
from recsys_assets.observability.exposition import Sample, exposition
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

_SECONDS = 10
_READABLE = 0o644  # node_exporter runs as somebody else


def export_metrics(
    store: ObjectStore,
    settings: Settings,
    rows: Iterable[TargetSettings],
    *,
    day: date | None,
    run: RunEnd | None,
    now: datetime,
) -> tuple[str, ...]:
    """Write and push the numbers of the targets, and return what went wrong: it never fails a run that did its work.

    Targets beyond `metrics.max_targets` are passed over, so that no configuration floods who stores the series.
    """
    if settings.metrics.folder is None and settings.metrics.push is None:
        return ()
    reported = {row.slug_parts for row in settings.targets[: settings.metrics.max_targets]}
    chosen = [row for row in rows if row.slug_parts in reported]
    return tuple(fault for row in chosen for fault in _tell(store, settings, row, day=day, run=run, now=now))


def _tell(
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    *,
    day: date | None,
    run: RunEnd | None,
    now: datetime,
) -> Iterator[str]:
    try:
        _send(settings, row, "store", list(measure_target(store, settings, row, day=day, now=now)))
        if run is not None:
            _send(settings, row, "run", list(measure_run(row, run)))
    except RecsysAssetsError as error:
        yield f"{row.target}: the metrics were not told: {error}"


def _send(settings: Settings, row: TargetSettings, part: str, samples: list[Sample]) -> None:
    """Send one part of a target's numbers; a run's own lie apart, so that measuring the store does not remove them."""
    text, name = exposition(samples), "__".join(row.slug_parts)
    if settings.metrics.folder is not None:
        _write(Path(settings.resolve(settings.metrics.folder)) / f"recsys_{name}.{part}.prom", text)
    if settings.metrics.push is not None:
        path = f"/metrics/job/recsys_assets/target/{quote(name, safe='')}/part/{part}"
        _push(settings.metrics.push.rstrip("/") + path, text)


def _write(file: Path, text: str) -> None:
    """Replace a file in one step: who reads it sees the old numbers or the new ones, never half of them."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, prefix=".", suffix=".tmp", delete=False) as temporary:
            temporary.write(text)
        os.chmod(temporary.name, _READABLE)  # noqa: PTH101 - a name, not a path
        Path(temporary.name).replace(file)
    except OSError as error:
        raise StoreUnavailableError(f"{file}: {error.strerror}: see metrics.folder") from error


def _push(url: str, text: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"metrics.push is {url!r}: expected http:// or https://")
    request = Request(url, data=text.encode(), method="PUT", headers={"Content-Type": "text/plain; version=0.0.4"})  # noqa: S310
    try:
        with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - the scheme is checked above
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise StoreUnavailableError(f"{url} answered {answer.status}: see metrics.push")
    except (URLError, TimeoutError) as error:
        raise StoreUnavailableError(f"{url} does not take the metrics: {error}: see metrics.push") from error
