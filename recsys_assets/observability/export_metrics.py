"""Export of a target's metrics to a file for node_exporter, replaced atomically, and to a Pushgateway."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit

from prometheus_client import CollectorRegistry, push_to_gateway, write_to_textfile
from prometheus_client.exposition import basic_auth_handler, default_handler

from recsys_assets.errors import ConfigurationError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.observability.build_metrics import (
    Gauges,
    RunEnd,
    Sample,
    measure_run,
    measure_target,
    measure_tests,
    registry_of,
)
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

_PUSH_TIMEOUT_SECONDS = 10
_READABLE = 0o644  # node_exporter runs as another user
_JOB = "recsys_assets"


def export_metrics(
    store: ObjectStore,
    settings: Settings,
    rows: Iterable[TargetSettings],
    *,
    day: date | None,
    run: RunEnd | None,
    now: datetime,
) -> tuple[str, ...]:
    """Write and push the metrics of targets, and return the faults, which must not fail a run.

    Targets beyond `metrics.max_targets` are skipped, to limit the number of time series.
    """
    if settings.metrics.folder is None and settings.metrics.push is None:
        return ()
    reported = {target_settings.slug_parts for target_settings in settings.targets[: settings.metrics.max_targets]}
    chosen = [target_settings for target_settings in rows if target_settings.slug_parts in reported]
    return tuple(
        fault
        for target_settings in chosen
        for fault in _export(store, settings, target_settings, day=day, run=run, now=now)
    )


def export_tests(
    store: ObjectStore, settings: Settings, target_settings: TargetSettings, *, now: datetime
) -> tuple[str, ...]:
    """Write and push the test metrics of a target after a manual test, and return the faults."""
    has_place = settings.metrics.folder is not None or settings.metrics.push is not None
    if not has_place or target_settings not in settings.targets[: settings.metrics.max_targets]:
        return ()
    try:
        _send(settings, target_settings, "tests", measure_tests(store, settings, target_settings, now=now))
    except RecsysAssetsError as error:
        return (f"{target_settings.target}: the metrics were not exported: {error}",)
    return ()


def _export(
    store: ObjectStore,
    settings: Settings,
    target_settings: TargetSettings,
    *,
    day: date | None,
    run: RunEnd | None,
    now: datetime,
) -> Iterator[str]:
    try:
        _send(settings, target_settings, "store", measure_target(store, settings, target_settings, day=day, now=now))
        if settings.imports_for(target_settings):
            _send(settings, target_settings, "tests", measure_tests(store, settings, target_settings, now=now))
        if run is not None:
            _send(settings, target_settings, "run", measure_run(target_settings, run))
    except RecsysAssetsError as error:
        yield f"{target_settings.target}: the metrics were not exported: {error}"


def _send(settings: Settings, target_settings: TargetSettings, part: str, samples: Iterable[Sample]) -> None:
    """Export one part of a target's metrics. Parts are separate, so that a new store part keeps those of a run."""
    registry, name = registry_of(Gauges(tuple(samples))), "__".join(target_settings.slug_parts)
    if settings.metrics.folder is not None:
        _write(Path(settings.resolve(settings.metrics.folder)) / f"recsys_{name}.{part}.prom", registry)
    if settings.metrics.push is not None:
        _push(settings.metrics.push.get_secret_value(), {"target": name, "part": part}, registry)


def _write(file: Path, registry: CollectorRegistry) -> None:
    """Replace a file atomically: a reader sees the old metrics or the new ones."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(file), registry)
        file.chmod(_READABLE)
    except OSError as error:
        raise StoreUnavailableError(f"{file}: {error.strerror}: see metrics.folder") from error


def _push(address: str, group: dict[str, str], registry: CollectorRegistry) -> None:
    """Replace a group of metrics at the Pushgateway. Messages never contain the URL, which may hold a password."""
    gateway, handler = _gateway(address)
    try:
        push_to_gateway(gateway, _JOB, registry, grouping_key=group, timeout=_PUSH_TIMEOUT_SECONDS, handler=handler)
    except HTTPError as error:
        error.close()  # the error is also the response and holds the connection
        raise StoreUnavailableError(f"the Pushgateway answered {error.code}: see metrics.push") from None
    except (OSError, HTTPException, ValueError) as error:
        # Messages of these errors quote the response or the URL, so only their type is reported.
        raise StoreUnavailableError(
            f"the Pushgateway did not accept the metrics ({type(error).__name__}): see metrics.push"
        ) from None


def _gateway(address: str) -> tuple[str, Callable[..., Callable[[], None]]]:
    """Return the URL without user and password, and the handler of `prometheus_client` that sends them."""
    try:
        url = urlsplit(address)
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if url.scheme not in {"http", "https"} or not url.netloc:
        raise ConfigurationError("metrics.push is not a URL: expected http://host:port or https://host:port")
    user, _, host = url.netloc.rpartition("@")
    gateway = url._replace(netloc=host).geturl()
    if not user:
        return gateway, default_handler
    name, _, password = user.partition(":")

    def with_password(**request: object) -> Callable[[], None]:
        return basic_auth_handler(**request, username=unquote(name), password=unquote(password))  # type: ignore[arg-type]

    return gateway, with_password
