"""Fills the reference pages when the site is built: settings from the models, commands from click."""

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from recsys_assets.cli.main import recsys_assets
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.artifacts import HierarchySettings, ImportSettings
from recsys_assets.settings.gates import CustomGate
from recsys_assets.settings.outputs import SinkSettings, WebhookSettings
from recsys_assets.settings.settings import Settings, TargetSettings

END = "<!-- end of what is generated -->"
PAGES = [Path(__file__).parents[1] / "reference" / f"{name}.md" for name in ("commands", "configuration")]
_FREE_FORM = {"artifacts", "targets", "base", "digest"}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Return a page with what is generated made again, without its marks; called by MkDocs for every page."""
    return fill(markdown).replace(END, "") if "<!-- generated: " in markdown else markdown


def fill(markdown: str, *, keep_marks: bool = False) -> str:
    """Return a page in which everything between a mark and its end is generated again."""
    for name, make in _GENERATED.items():
        mark = f"<!-- generated: {name} -->"
        before, found, rest = markdown.partition(mark)
        if found:
            text = "\n".join(make())
            head = f"{before}{mark}\n" if keep_marks else before
            markdown = f"{head}{text}\n\n{END}{rest.partition(END)[2]}"
    return markdown


def write() -> None:
    """Write what is generated into the pages, so that they read on a code host too."""
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), keep_marks=True), encoding="utf-8")


def settings_reference() -> Iterator[str]:
    """Yield a section per table of recsys.toml, a row per key: type, default, what it means."""
    for name, info in Settings.model_fields.items():
        if name not in _FREE_FORM and _is_model(info.annotation):
            yield from _section(f"[{name}]", info.annotation)
            for inner, message in info.annotation.model_fields.items():
                if _is_model(message.annotation):
                    yield from _section(f"[{name}.{inner}]", message.annotation)
    yield from _section("[gates.custom.<name>]", CustomGate)
    yield from _section("[[webhooks]]", WebhookSettings)
    yield from _section("[sinks.<name>]", SinkSettings)
    yield from _section("[imports.<kind>]", ImportSettings)
    yield from _section("[hierarchies.<name>]", HierarchySettings)
    yield from _section("[artifacts]", Settings.model_fields["artifacts"].annotation)
    for kind in KINDS.values():
        yield from _section(f"[artifacts.{kind.name}]", kind.params)
    yield from _section("[[targets]]", TargetSettings)


def command_reference() -> Iterator[str]:
    """Yield a section per command: its help, and a row per option."""
    with click.Context(recsys_assets, info_name="recsys-assets", terminal_width=80) as group:
        for name in recsys_assets.list_commands(group):
            command = recsys_assets.get_command(group, name)
            if command is not None:
                yield from _command(click.Context(command, info_name=name, parent=group))


def _section(title: str, model: Any) -> Iterator[str]:
    yield f"\n## `{title}`\n"
    yield f"{inspect.getdoc(model)}\n"
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, info in model.model_fields.items():
        yield f"| `{key}` | {_type(info.annotation)} | {_default(info)} | {_cell(info.description)} |"


def _command(context: click.Context) -> Iterator[str]:
    command = context.command
    yield f"\n## `{context.command_path}`\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    yield f"```text\n{command.get_usage(context)}\n```\n"
    rows = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    yield "| option | meaning |"
    yield "|---|---|"
    yield from (f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in rows)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _command(click.Context(inner, info_name=name, parent=context))


def _type(annotation: Any) -> str:
    if get_origin(annotation) is types.UnionType:
        return " or ".join(_type(part) for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is tuple:
        return f"list of {_type(get_args(annotation)[0])}"
    name = getattr(annotation, "__name__", str(annotation))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        name, "table" if name in {"Mapping", "dict"} else name
    )


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "empty"
    if info.default is PydanticUndefined:
        return "**required**"
    if isinstance(info.default, tuple):
        return ", ".join(f"`{value}`" for value in info.default)
    return (
        "none"
        if info.default is None
        else f"`{str(info.default).lower() if isinstance(info.default, bool) else info.default}`"
    )


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


_GENERATED = {"settings": settings_reference, "commands": command_reference}


if __name__ == "__main__":
    write()
