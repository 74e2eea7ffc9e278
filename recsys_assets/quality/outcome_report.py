"""Report of outcomes as a document: rates by release, kind and visitor, and what each rollout says; light to import."""

from enum import StrEnum
from typing import Final

from recsys_assets.release.documents import FORMAT, Record

METRICS: Final = ("click", "purchase")
ALL: Final = "all"
VISITORS: Final = (ALL, "new", "returning", "anonymous")


class OutcomeVerdict(StrEnum):
    """What the outcomes of a rollout say."""

    SHIP = "ship"  # not worse by more than the margin
    HOLD = "hold"  # nobody can say
    FAIL = "fail"  # worse beyond doubt


class Share(Record, frozen=True):
    """How many of how many exposures led to something, and the interval of the rate."""

    hits: int
    of: int
    rate: float
    low: float
    high: float


class OutcomeRow(Record, frozen=True):
    """Exposures of one release and kind (empty: all kinds, or none was logged) by one group of visitors."""

    release: str  # its first 16 digits
    kind: str
    visitor: str  # one of VISITORS
    keys: int  # how many people, else sessions
    click: Share
    purchase: Share


class StepKeys(Record, frozen=True):
    """One step of a rollout: its share, its keys, how many of them the candidate got, and how likely that is."""

    share: int
    since: str
    keys: int
    candidate: int
    mixed: int  # keys that both sides answered
    probability: float


class Difference(Record, frozen=True):
    """One metric of both sides, and the candidate's less the live one's with its interval, steps taken together."""

    metric: str
    live: float
    candidate: float
    difference: float
    low: float
    high: float


class RolloutOutcome(Record, frozen=True):
    """What became of users in one rollout: the decision, why, the check of the ratio of keys, and the differences."""

    release: str
    against: str
    verdict: OutcomeVerdict
    why: str
    steps: tuple[StepKeys, ...]
    differences: tuple[Difference, ...]


class OutcomeReport(Record, frozen=True):
    """Outcomes of a target's days: rates by release, kind and visitor, and what each rollout says, the newest first."""

    tenant: str
    surface: str
    start: str
    end: str
    level: float
    exposures: int  # with and without a tag
    untagged: int  # exposures that do not say which release answered
    unmatched: int  # clicks and purchases of no exposure of these days
    rows: tuple[OutcomeRow, ...]
    rollouts: tuple[RolloutOutcome, ...]
    v: int = FORMAT
