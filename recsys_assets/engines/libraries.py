"""Libraries that only some engines need, imported when one is asked for."""

from importlib import import_module
from typing import Any

from recsys_assets.errors import ConfigurationError


def require(module: str, *, extra: str) -> Any:
    """Return a module; `ConfigurationError` names the extra that brings it if it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'engine = "{extra}" needs the library {error.name}, which is not installed: '
            f'pip install "recsys-assets[{extra}]", or choose engine = "native"'
        ) from error
