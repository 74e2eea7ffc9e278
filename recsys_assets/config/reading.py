"""recsys.toml, read: every finding is told by line and key; secrets never stand in it."""

import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from recsys_assets.config.errors import Location, explain
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import ConfigurationError

CONFIG_VARIABLE = "RECSYS_CONFIG"
DEFAULT_CONFIG = "recsys.toml"


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the configuration from `path`, else from $RECSYS_CONFIG, else from ./recsys.toml.

    Raises `ConfigurationError` naming file, key, allowed and found; nothing is opened but the file.
    """
    file = Path(path or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}; name a file with --config or ${CONFIG_VARIABLE}"
        ) from error
    return parse_settings(data, name=str(file), base=file.absolute().parent)


def parse_settings(data: bytes, *, name: str, base: Path) -> Settings:
    """Check the bytes of a configuration file called `name`; relative paths in it count from `base`."""
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name} is not TOML in UTF-8: {error}") from error
    for reserved in ("base", "digest"):
        if reserved in table:
            raise ConfigurationError(f"{name}: unknown key {reserved!r}")
    try:
        settings = Settings.model_validate({**table, "base": base, "digest": hashlib.sha256(data).hexdigest()})
    except ValidationError as error:
        raise ConfigurationError(explain([((), error)], name=name, text=data.decode(), root=Settings)) from error
    wrong = list(_wrong_overrides(settings))
    if wrong:
        raise ConfigurationError(explain(wrong, name=name, text=data.decode(), root=Settings)) from wrong[0][1]
    return settings


def _wrong_overrides(settings: Settings) -> Iterator[tuple[Location, ValidationError]]:
    """Yield what is wrong in the tables by which single targets override the file's."""
    for index, row in enumerate(settings.targets):
        for name, read in _OVERRIDABLE.items():
            try:
                read(settings, row)
            except ValidationError as error:
                yield ("targets", index, name), error


_OVERRIDABLE: Mapping[str, Callable[[Settings, TargetSettings], object]] = {
    "gates": Settings.gates_for,
    "retention": Settings.retention_for,
    "automation": Settings.automation_for,
    "freshness": Settings.freshness_for,
}
