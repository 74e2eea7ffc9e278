"""Reading and checking of recsys.toml: every finding names its line, key, allowed values and found value."""

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recsys_assets.errors import ConfigurationError
from recsys_assets.messages import name_known, plural
from recsys_assets.settings.settings import Settings, TargetSettings

Location: TypeAlias = tuple[int | str, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"-]+)\s*=")
_INTERNAL = frozenset({"base", "digest"})
_NOT_SHOWN = frozenset(
    {"user_key", "key", "other_key", "push", "metrics", "secret", "url", "adbc"}
)  # keys that may hold a secret
CONFIG_VARIABLE = "RECSYS_CONFIG"
DEFAULT_CONFIG = "recsys.toml"
_OVERRIDABLE: Mapping[str, Callable[[Settings, TargetSettings], object]] = {
    "gates": Settings.gates_for,
    "retention": Settings.retention_for,
    "automation": Settings.automation_for,
    "freshness": Settings.freshness_for,
    "rollout": Settings.rollout_for,
    "rollback": Settings.rollback_for,
}


def explain(errors: Iterable[tuple[Location, ValidationError]], *, name: str, text: str, root: type[BaseModel]) -> str:
    """Return one line per finding, with its line in the file, the key, the message and the value found.

    Each error comes with the location of the validated table: () for the whole file, ("targets", 1, "gates") for one.
    """
    lines = line_numbers(text)
    findings = [_describe(location, finding, lines, root) for location, error in errors for finding in error.errors()]
    return "\n".join([f"{name}: {plural(len(findings), 'finding')}", *findings])


def line_numbers(text: str) -> dict[Location, int]:
    """Return the line number, from 1, of each table and key of a TOML text that is written on a line of its own."""
    numbers: dict[Location, int] = {}
    counts: dict[str, int] = {}
    table: Location = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _table(header[2], counts, is_item=header[1] == "[[")
            numbers.setdefault(table, number)
        elif key := _KEY.match(line):
            numbers.setdefault((*table, *_parts(key[1])), number)
    return numbers


def _table(path: str, counts: dict[str, int], *, is_item: bool) -> Location:
    """Return the location of a header: `[[targets]]` opens the next item, `[targets.gates]` belongs to the last one."""
    parts = _parts(path)
    if is_item:
        counts[path] = counts.get(path, -1) + 1
        return (*parts, counts[path])
    return tuple(_with_indices(parts, counts))


def _with_indices(parts: tuple[str, ...], counts: dict[str, int]) -> Iterator[int | str]:
    for depth, part in enumerate(parts, start=1):
        yield part
        index = counts.get(".".join(parts[:depth]))
        if index is not None:
            yield index


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part.strip().strip('"') for part in path.split("."))


def _describe(location: Location, finding: ErrorDetails, lines: dict[Location, int], root: type[BaseModel]) -> str:
    where = (*location, *finding["loc"])
    key = ".".join(str(part) for part in where) or "(file)"
    line = next((lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in lines), None)
    head = f"  line {line}: {key}" if line else f"  {key}"
    if finding["type"] == "extra_forbidden":
        return f"{head}: unknown key; {name_known(str(where[-1]), _allowed_keys(where, root), intro='allowed here:')}"
    message = finding["msg"].removeprefix("Value error, ")
    value = finding["input"]
    inner: Iterable[object] = value if isinstance(value, dict) else ()
    is_shown = _NOT_SHOWN.isdisjoint(where[-1:]) and _NOT_SHOWN.isdisjoint(inner) and "adbc" not in where
    return f"{head}: {message} (found {value!r:.80})" if is_shown else f"{head}: {message}"


def _allowed_keys(where: Location, root: type[BaseModel]) -> list[str]:
    """Return the keys that are allowed at the location of an unknown key."""
    model = root
    for part in where[:-1]:
        if isinstance(part, str):
            # A table of overrides in a target has the model of the file's table of the same name.
            model = _model_of(model, part) or _model_of(root, part) or model
    return sorted(set(model.model_fields) - _INTERNAL)


def _model_of(model: type[BaseModel], field: str) -> type[BaseModel] | None:
    if field not in model.model_fields:
        return None
    annotation = model.model_fields[field].annotation
    inner = getattr(annotation, "__args__", (annotation,))[0]
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def load_settings(path: str | Path | None = None) -> Settings:
    """Read the configuration from `path`, else from $RECSYS_CONFIG, else from ./recsys.toml.

    Opens no other file. Raises `ConfigurationError` with file, key, allowed values and the value found.
    """
    file = path_of_settings(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}; set --config or ${CONFIG_VARIABLE}") from error
    return parse_settings(data, name=str(file), base=file.absolute().parent)


def path_of_settings(path: str | Path | None = None) -> Path:
    """Return the configuration file: `path`, else $RECSYS_CONFIG, else ./recsys.toml."""
    return Path(path or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def parse_settings(data: bytes, *, name: str, base: Path) -> Settings:
    """Parse and validate the bytes of a configuration file called `name`. Relative paths are relative to `base`.

    Raises `ConfigurationError` with one line per finding.
    """
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
    """Yield the errors in the tables by which targets override those of the file."""
    for index, target_settings in enumerate(settings.targets):
        for name, read in _OVERRIDABLE.items():
            try:
                read(settings, target_settings)
            except ValidationError as error:
                yield ("targets", index, name), error
