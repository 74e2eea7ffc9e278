"""What every kind of artifact can be told in `recsys.toml`; each kernel's file adds its own."""

from pydantic import BaseModel, ConfigDict, Field

MAX_BYTES = 10_000_000  # the reference service refuses larger blobs, and then fails whole requests


class KindParams(BaseModel):
    """Parameters of one kind: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_days: int = Field(
        default=1, ge=1, le=366, description="days of events that go in, ending with the partition's"
    )
    min_days: int = Field(default=1, ge=0, description="fewest days of the window that must have events")
    max_bytes: int = Field(default=MAX_BYTES, ge=1, description="largest blob; over it nothing is built")
