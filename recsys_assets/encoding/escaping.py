"""JSON strings as Go's encoding/json writes them, each distinct id once, and back."""

import json
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys_assets.compiled.strings import PADDING, Numbers
from recsys_assets.compiled.words import Bytes

_SPECIAL = r'["\\<>&\x00-\x1f\u2028\u2029]'
_TABLE = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


class Pieces(NamedTuple):
    """Texts one behind the other: text `n` is `data[starts[n] : starts[n + 1]]`; `PADDING` bytes follow the last."""

    data: Bytes
    starts: Numbers


def quote(text: str) -> str:
    r"""Return one string as a JSON literal: `" \` escaped, `\b \f \n \r \t` short, `< > &` and U+2028/2029 as \\u."""
    return json.dumps(text, ensure_ascii=False).translate(_TABLE)


def unquote(literal: str) -> str | None:
    """Return what a JSON literal stands for if it is written as `quote` writes it, else None."""
    try:
        text = json.loads(literal)
    except ValueError:
        return None
    return text if isinstance(text, str) and _is_unicode(text) and quote(text) == literal else None


def quote_ids(ids: pl.Series, *, before: str, after: str) -> Pieces:
    """Return the JSON literal of every id between two fixed texts."""
    literals = _replace_special('"' + ids + '"', ids, [quote(text) for text in ids.filter(needs_escape(ids))])
    padded = pl.concat([before + literals + after, pl.Series([" " * PADDING], dtype=pl.String)])
    array = padded.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, starts, data = array.buffers()
    return Pieces(np.frombuffer(data, np.uint8), np.frombuffer(starts, np.int64)[: len(ids) + 1])


def needs_escape(texts: pl.Series) -> pl.Series:
    """Tell for each text whether a character of it is escaped in JSON."""
    return texts.str.contains(_SPECIAL)


def _replace_special(literals: pl.Series, ids: pl.Series, special: list[str]) -> pl.Series:
    if not special:
        return literals
    return literals.scatter(needs_escape(ids).arg_true(), pl.Series(special, dtype=pl.String))


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which JSON can spell and UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
