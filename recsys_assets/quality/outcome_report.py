"""Document of outcome reports: rates by release, kind and visitor, and verdicts on rollouts. Light to import."""

from enum import StrEnum
from typing import Final

from recsys_assets.release.documents import FORMAT, Record

METRICS: Final = ("click", "purchase")
ALL: Final = "all"
VISITORS: Final = (ALL, "new", "returning", "anonymous")


class OutcomeVerdict(StrEnum):
    """Verdict on the outcomes of a rollout."""

    SHIP = "ship"  # not worse by more than the margin
    HOLD = "hold"  # not enough evidence
    FAIL = "fail"  # significantly worse


class Share(Record, frozen=True):
    """Share of exposures with a click or purchase, with the interval of the rate."""

    hits: int
    of: int
    rate: float
    low: float
    high: float


class OutcomeRow(Record, frozen=True):
    """Outcomes of one release, kind (empty: all kinds, or none logged) and group of visitors."""

    release: str  # first 16 digits
    kind: str
    visitor: str  # one of VISITORS
    keys: int  # number of people, or else sessions
    click: Share
    purchase: Share


class StepKeys(Record, frozen=True):
    """Keys of one step of a rollout: planned share, keys of the candidate, and the probability of that ratio."""

    share: int
    since: str
    keys: int
    candidate: int
    mixed: int  # keys served by both releases
    probability: float


class Difference(Record, frozen=True):
    """Metric of both releases over all steps, and candidate minus live with its interval."""

    metric: str
    live: float
    candidate: float
    difference: float
    low: float
    high: float


class RolloutOutcome(Record, frozen=True):
    """Outcome of one rollout: verdict, reason, keys by step, and differences of the metrics."""

    release: str
    against: str
    verdict: OutcomeVerdict
    why: str
    steps: tuple[StepKeys, ...]
    differences: tuple[Difference, ...]


class OutcomeReport(Record, frozen=True):
    """Outcomes of a target's days: rates by release, kind and visitor, and rollouts, newest first."""

    tenant: str
    surface: str
    start: str
    end: str
    level: float
    exposures: int  # tagged and untagged
    untagged: int  # exposures without a release tag
    unmatched: int  # clicks and purchases without an exposure on these days
    rows: tuple[OutcomeRow, ...]
    rollouts: tuple[RolloutOutcome, ...]
    v: int = FORMAT
