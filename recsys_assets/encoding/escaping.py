"""Columns of ids as JSON literals, each distinct id written once."""

from typing import NamedTuple

import numpy as np
import polars as pl

from recsys_assets.artifact_format import SPECIAL_CHARACTERS, quote
from recsys_assets.compiled.strings import PADDING, Numbers
from recsys_assets.compiled.words import Bytes


class Pieces(NamedTuple):
    """Texts one behind the other: text `n` is `data[starts[n] : starts[n + 1]]`; `PADDING` bytes follow the last."""

    data: Bytes
    starts: Numbers


def quote_ids(ids: pl.Series, *, before: str, after: str) -> Pieces:
    """Return the JSON literal of every id between two fixed texts."""
    literals = _replace_special('"' + ids + '"', ids, [quote(text) for text in ids.filter(needs_escape(ids))])
    padded = pl.concat([before + literals + after, pl.Series([" " * PADDING], dtype=pl.String)])
    array = padded.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, starts, data = array.buffers()
    return Pieces(np.frombuffer(data, np.uint8), np.frombuffer(starts, np.int64)[: len(ids) + 1])


def needs_escape(texts: pl.Series) -> pl.Series:
    """Return for each text whether a character of it is escaped in JSON."""
    return texts.str.contains(SPECIAL_CHARACTERS)


def _replace_special(literals: pl.Series, ids: pl.Series, special: list[str]) -> pl.Series:
    if not special:
        return literals
    return literals.scatter(needs_escape(ids).arg_true(), pl.Series(special, dtype=pl.String))
