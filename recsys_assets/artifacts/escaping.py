"""JSON strings as Go's encoding/json writes them, each distinct id once, and back."""

import json

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recsys_assets.artifacts.rows import Numbers

Bytes = npt.NDArray[np.uint8]
_SPECIAL = r'["\\<>&\x00-\x1f\u2028\u2029]'
_AFTER_JSON = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_TABLE = str.maketrans(_AFTER_JSON)


def quote(text: str) -> str:
    r"""Return one string as a JSON literal: `" \` escaped, `\b \f \n \r \t` short, `< > &` and U+2028/2029 as \\u."""
    return json.dumps(text, ensure_ascii=False).translate(_TABLE)


def quote_ids(ids: pl.Series) -> tuple[Bytes, Numbers]:
    """Return the JSON literals of a String series, one after the other, and where each begins (one offset more)."""
    special = ids.str.contains(_SPECIAL)
    plain = '"' + ids + '"'
    if special.any():
        mended = pl.Series([quote(text) for text in ids.filter(special)], dtype=pl.String)
        plain = plain.scatter(special.arg_true(), mended)
    literals = pa.array(plain.to_arrow()).cast(pa.large_string())
    _, offsets, data = literals.buffers()
    starts = (
        np.frombuffer(offsets, np.int64, len(literals) + 1, literals.offset * 8)
        if len(literals)
        else np.zeros(1, np.int64)
    )
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    return raw, starts
