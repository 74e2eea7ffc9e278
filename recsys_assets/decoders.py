"""Cached JSON decoders, each built by one thread, because msgspec 0.22 crashes if two build one concurrently."""

import threading
from typing import Any, TypeVar

import msgspec

Kind = TypeVar("Kind")

_making = threading.Lock()
_made: dict[type, msgspec.json.Decoder[Any]] = {}


def decoder_of(kind: type[Kind]) -> msgspec.json.Decoder[Kind]:
    """Return the strict decoder of a type, from any thread.

    msgspec inspects a class and the classes of its fields when their first decoder is built. Another thread that uses
    them at that time crashes the process. After this call, `msgspec.convert` to the class is safe as well.
    """
    decoder = _made.get(kind)
    if decoder is None:
        with _making:
            decoder = _made.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder
