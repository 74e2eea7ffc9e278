"""Optional libraries of engines, imported on first use."""

from importlib import import_module
from typing import Any

from recsys_assets.errors import ConfigurationError


def require(module: str, *, extra: str) -> Any:
    """Import and return a module. Raises `ConfigurationError` with the extra to install if it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f'engine = "{extra}" needs the library {error.name}, which is not installed: '
            f'pip install "recsys-assets[{extra}]", or choose engine = "native"'
        ) from error
