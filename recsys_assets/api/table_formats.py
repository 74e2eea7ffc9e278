"""Rows as JSON records, CSV or Parquet, by the parameter `format` or the header `Accept`."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, TypeAlias

import msgspec
from starlette.responses import Response

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import BadRequestError, InputError, InvalidNodeError
from recsys_assets.settings.artifacts import ImportFormat
from recsys_assets.trees.content import ARROW, CSV, JSON, JSON_LINES, PARQUET

Format: TypeAlias = Literal["json", "csv", "parquet"]
MEDIA: Final[Mapping[Format, str]] = {"json": JSON, "csv": f"{CSV}; charset=utf-8", "parquet": PARQUET}
MAX_UNPACKED_BYTES: Final = 1_000_000_000
_BY_MEDIA: Final[Mapping[str, Format]] = {JSON: "json", CSV: "csv", PARQUET: "parquet"}
_ENDINGS: Final[Mapping[str, str]] = {
    JSON: "json",
    "application/zip": "zip",
    JSON_LINES: "jsonl",
    ARROW: "arrow",
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
    "text/plain": "txt",
    CSV: "csv",
    PARQUET: "parquet",
}
_LINES: Final = (JSON_LINES, "application/jsonl")
_TABLES: Final = (PARQUET, ARROW, CSV, *_LINES)


def choose_format(requested: Format | None, accept: str) -> Format:
    """Return the requested format, else the preferred one of `Accept`, else JSON."""
    if requested is not None:
        return requested
    liked: list[tuple[float, Format]] = []
    for part in accept.split(","):
        media, _, parameters = part.partition(";")
        media_format = _BY_MEDIA.get(media.strip().lower())
        if media_format is not None:
            liked.append((_quality(parameters), media_format))
    best = max(liked, key=lambda weighted: weighted[0], default=(0.0, "json"))
    return best[1] if best[0] > 0 else "json"


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def is_table(content_type: str) -> bool:
    """Return whether a content type is a table of rows."""
    return _bare(content_type) in _TABLES


def ending_of(content_type: str) -> str:
    """Return the file name extension of a content type."""
    return _ENDINGS.get(_bare(content_type), "bin")


def read_rows(data: bytes, content_type: str, *, name: str) -> Any:
    """Return content as rows, an Arrow table or the records of a JSON list.

    Raises `BadRequestError` for other content.
    """
    if is_table(content_type):
        return open_table(data, content_type, name=name)
    if _bare(content_type) == JSON:
        with suppress(msgspec.MsgspecError):
            return decoder_of(list[dict[str, Any]]).decode(data)
    raise BadRequestError(f"{name} is {content_type}, which has no rows: omit format")


def open_table(data: bytes, content_type: str, *, name: str) -> Any:
    """Return stored bytes as an Arrow table, with bounded unpacking.

    Raises `InvalidNodeError` if they are not a table.
    """
    import pyarrow as pa  # noqa: PLC0415 - needed only for rows
    from pyarrow import csv as arrow_csv  # noqa: PLC0415
    from pyarrow import ipc  # noqa: PLC0415

    from recsys_assets.imports.inspecting import inspect_parquet, read_table  # noqa: PLC0415

    kind = _bare(content_type)
    try:
        if kind == PARQUET:
            inspect_parquet(data, name=name, max_unpacked_bytes=MAX_UNPACKED_BYTES)
            return read_table(data, ImportFormat.PARQUET, name=name)
        if kind in _LINES:
            return read_table(data, ImportFormat.JSONL, name=name)
        if kind == ARROW:
            return ipc.open_file(pa.BufferReader(data)).read_all()
        return arrow_csv.read_csv(pa.BufferReader(data))
    except (InputError, pa.ArrowException, OSError, ValueError) as error:
        raise InvalidNodeError(f"{name} cannot be read as rows: {str(error)[:300]}") from error


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def send_rows(rows: Any, chosen: Format, *, name: str) -> Response:
    """Answer with rows (an Arrow table, or records) as a file of the chosen format."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{chosen}"', "Vary": "Accept"}
    return Response(write_rows(rows, chosen), headers={**headers, "Content-Type": MEDIA[chosen]})


def write_rows(rows: Any, chosen: Format) -> bytes:
    """Return rows (an Arrow table, or records) as bytes of a format.

    In CSV, values other than text and numbers (lists, objects, times) are JSON. Missing values are empty cells.
    """
    if chosen == "parquet":
        import pyarrow as pa  # noqa: PLC0415 - as above
        import pyarrow.parquet as pq  # noqa: PLC0415

        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows)) if isinstance(rows, Sequence) else rows, stream)
        return stream.getvalue()
    records: list[Mapping[str, Any]] = list(rows) if isinstance(rows, Sequence) else rows.to_pylist()
    names = list(dict.fromkeys(name for record in records for name in record)) if records else _columns(rows)
    return msgspec.json.encode(records) if chosen == "json" else _csv(records, names)


def _columns(rows: Any) -> list[str]:
    return [] if isinstance(rows, Sequence) else list(rows.column_names)


def _csv(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(record.get(name)) for name in names] for record in records)
    return text.getvalue().encode()


def _cell(value: Any) -> str | int | float | None:
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    text = msgspec.json.encode(value).decode()
    return msgspec.json.decode(text) if text.startswith('"') else text
