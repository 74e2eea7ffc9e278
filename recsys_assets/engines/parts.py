"""Parquet files of this machine that engines hand over: read in bounded pieces, and proven where it matters."""

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from recsys_assets.errors import EngineUnavailableError

BATCH_ROWS = 1 << 16


def read_part(source: object, columns: Sequence[str], *, name: str) -> Iterator[pl.DataFrame]:
    """Yield the columns of a Parquet file in pieces of at most `BATCH_ROWS` rows.

    Raises `EngineUnavailableError` if the file is gone or cut short: an engine is asked again, it is never guessed.
    """
    try:
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                yield pl.DataFrame(pl.from_arrow(batch))
    except (pa.ArrowException, OSError) as error:
        raise EngineUnavailableError(
            f"a part of the result cannot be read ({name}: {error}); nothing was shipped: run the day again"
        ) from error
