"""Which gates judge a subject and by which limits; the digest tells reports under other limits apart."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from recsys_assets.evidence import Scalar
from recsys_assets.gates.backtest import BACKTEST, backtest_gates
from recsys_assets.gates.drift import drift_gates
from recsys_assets.gates.grading import with_modes
from recsys_assets.gates.rehearsal import REHEARSAL, rehearsal_gates
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

CANONICAL = "canonical"


@dataclass(frozen=True, slots=True)
class Policy:
    """The gates of one subject (an artifact kind, or "canonical"): name -> the limits it holds the subject against."""

    subject: str
    gates: Mapping[str, Mapping[str, Scalar]]

    @property
    def digest(self) -> str:
        """SHA-256 of subject, names and limits."""
        text = msgspec.json.encode([self.subject, self.gates], order="deterministic")
        return hashlib.sha256(text).hexdigest()


def canonical_policy(settings: Settings, row: TargetSettings) -> Policy:
    """Return the gates of a target's canonical days."""
    limits = settings.gates_for(row)
    gates: dict[str, dict[str, Scalar]] = {
        "contract": {},
        "volume": {"min_events": limits.min_events},
        "bad_share": {"max_bad_share": settings.raw.max_bad_share},
        "duplicate_share": {"max_duplicate_share": limits.max_duplicate_share},
    }
    return Policy(CANONICAL, with_modes(gates, limits.modes))


def artifact_policy(settings: Settings, row: TargetSettings, kind: str, params: KindParams) -> Policy:
    """Return the gates of one artifact kind of a target; `params` are the ones that the kind is built with."""
    limits = settings.gates_for(row)
    gates: dict[str, dict[str, Scalar]] = {
        "envelope": {"kind": kind, "tenant": row.tenant, "surface": row.surface, "segment": row.segment},
        "contract": _scalars(params),
        "not_empty": {"min_rows": limits.min_rows},
        "size": {"max_bytes": params.max_bytes},
        "days": {"min_days": params.min_days, "window_days": params.window_days},
        "left_out_share": {"max_left_out_share": limits.max_left_out_share},
    }
    drift = drift_gates(limits.drift.of_kind(kind), limits.modes)
    return Policy(kind, {**with_modes(gates, limits.modes), **drift})


def rehearsal_policy(settings: Settings, row: TargetSettings) -> Policy:
    """Return the gates of the rehearsal of a target's candidates; without any if it is off."""
    limits = settings.gates_for(row)
    return Policy(REHEARSAL, rehearsal_gates(limits.rehearsal, settings.kinds_for(row), limits.modes))


def backtest_policy(settings: Settings, row: TargetSettings) -> Policy:
    """Return the gates of the back-test of a target's candidates: of each kind that orders items, and their blend."""
    ranked = [name for name in settings.artifacts.kinds if name in KINDS and KINDS[name].description.orders_items]
    limits = settings.gates_for(row)
    return Policy(BACKTEST, backtest_gates(limits.backtest, ranked, limits.modes))


def _scalars(params: KindParams) -> dict[str, Scalar]:
    """Flatten parameters to scalars; a table (such as weights) becomes one entry per key."""
    flat: dict[str, Scalar] = {}
    for name, value in params.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": inner for key, inner in sorted(value.items())})
        else:
            flat[name] = ", ".join(f'"{one}"' for one in value) if isinstance(value, list) else value
    return flat
