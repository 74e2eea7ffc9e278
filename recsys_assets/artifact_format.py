"""The format of a stored artifact: its bytes under its reference, and the limit on its size."""

from dataclasses import dataclass

from recsys_assets.errors import LimitExceededError
from recsys_assets.identity import ArtifactRef, Target


@dataclass(frozen=True, slots=True)
class Blob:
    """One artifact as it is stored: its reference and its bytes, which are a pure function of the version."""

    ref: ArtifactRef
    data: bytes


def too_large(kind: str, target: Target, *, found: str, max_bytes: int) -> LimitExceededError:
    """Return the error that says how large a blob would be, and which knobs there are."""
    return LimitExceededError(
        f"{kind} of {target} would have {found} bytes, artifacts.{kind}.max_bytes allows {max_bytes:,}: "
        "lower a cut (max_items, max_neighbors, max_items_per_user) or the factors, or raise max_bytes if consumers "
        "can read it",
    )
