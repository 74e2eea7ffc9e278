"""Why a line is refused, as a value to keep and as an error on the way there."""

import json
from dataclasses import dataclass
from typing import NoReturn

from recsys_assets.raw.rejects import Reason

_MAX_SHOWN = 40  # characters of a value in a message


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is refused, and the names that it carries, if it could be read so far."""

    reason: Reason
    detail: str
    tenant: str | None = None
    surface: str | None = None
    day: str | None = None  # the day that a good event belongs to, if it is another one than asked for


class FaultError(Exception):
    """Stops the reading of one line; never leaves the package. `rule` is the detail without anything of the line."""

    def __init__(self, reason: Reason, rule: str, found: str = "") -> None:
        self.reason = reason
        self.rule = rule
        self.detail = rule + found
        super().__init__(self.detail)


def fail(reason: Reason, detail: str) -> NoReturn:
    """Stop reading the line."""
    raise FaultError(reason, detail)


def fail_found(reason: Reason, rule: str, value: object) -> NoReturn:
    """Stop reading the line, for a value of it that breaks the rule."""
    raise FaultError(reason, rule, f", found {show(value)}")


def show(value: object) -> str:
    """Return a value of JSON as text for a message, cut short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
