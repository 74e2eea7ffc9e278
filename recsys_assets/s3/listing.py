"""Every object below a prefix, page by page: all of them, or an error."""

from collections.abc import Iterator, Mapping
from typing import Any

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.s3.answers import translate_s3_errors


def list_objects(client: Any, *, bucket: str, prefix: str) -> Iterator[Mapping[str, Any]]:
    """Yield the entries (`Key`, `Size`, `ETag`, `LastModified`) of all objects whose keys begin with `prefix`.

    Raises `StoreUnavailableError` if a page is missing, `ConfigurationError` for a wrong bucket or missing rights.
    """
    more: dict[str, str] = {}
    with translate_s3_errors(f"s3://{bucket}/{prefix}"):
        while True:
            page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            more = _next_page(page, prefix, before=more)


def _next_page(page: Mapping[str, Any], prefix: str, *, before: Mapping[str, str]) -> dict[str, str]:
    token = {"ContinuationToken": str(page.get("NextContinuationToken", ""))}
    if token in ({"ContinuationToken": ""}, before):
        raise StoreUnavailableError(f"{prefix}: the listing says that it is cut and not how to go on: try again")
    return token
