"""Decoders of JSON into types, each made by one thread: two that make a type's first at once crash msgspec 0.22."""

import threading
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")

_making = threading.Lock()
_made: dict[type, msgspec.json.Decoder[Any]] = {}


def decoder_of(kind: type[Kind]) -> msgspec.json.Decoder[Kind]:
    """Return the strict decoder of a type, from any thread.

    msgspec learns a class and the classes of its fields when their first decoder is made, and whoever comes meanwhile
    finds them half learnt: the process dies of it. After this, `msgspec.convert` to the class is safe as well.
    """
    found = _made.get(kind)
    if found is None:
        with _making:
            found = _made.setdefault(kind, msgspec.json.Decoder(kind))
    return found
