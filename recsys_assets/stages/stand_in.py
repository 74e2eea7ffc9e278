"""A stand-in for a candidate: its kinds built by their kernels from the window without the events that are held out."""

from collections.abc import Callable, Iterable
from datetime import date, datetime

from recsys_assets.artifacts.decay import with_ages
from recsys_assets.artifacts.kinds import KINDS, Kind, read_params
from recsys_assets.artifacts.tallies import merge_tallies, tally_day
from recsys_assets.artifacts.writing import encode_content
from recsys_assets.canonical.events import Events
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.evaluation.splitting import before
from recsys_assets.identity import Target, Window
from recsys_assets.manifest.documents import CanonicalRecord
from recsys_assets.manifest.encoding import read_document
from recsys_assets.manifest.layout import blob_key, canonical_record_key
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.row_index import MAX_INDEXED_BYTES
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.trial import load_trial
from recsys_assets.sharding import NEVER
from recsys_assets.stages.canonical import read_events
from recsys_assets.stages.source import find_days
from recsys_assets.stages.tallies import read_tallies
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.store import ObjectStore

_LIMITS = Limits(blob_bytes=MAX_INDEXED_BYTES, release_bytes=2**40)  # what was built here fits in memory


def build_stand_in(
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    day: date,
    *,
    until: datetime,
    go_on: Callable[[], None],
) -> Snapshot:
    """Return what a reader would hold if `day` had ended at `until`: every kind that is made of events, nothing stored.

    `go_on` is called before each kind, and may raise to end the work.
    """
    held = MemoryStore()
    versions: dict[str, str] = {}
    for kind in _of_events(settings.artifacts.kinds):
        go_on()
        params = read_params(settings, row, kind.name)
        window = Window.ending(day, days=params.window_days)
        events = _events(store, settings, row.target, kind.reading(params), window, until=until, aged=params.aged)
        built = kind.build(events, params, settings.limits)
        # A kind in shards stands in as one object: it is asked here, and goes nowhere.
        room = params.max_bytes if params.shards == NEVER else MAX_INDEXED_BYTES
        blob = encode_content(built.rows, kind=kind.name, target=row.target, window=window, max_bytes=room)
        held.put(blob_key(row.target, kind.name, blob.ref.version), blob.data)
        versions[kind.name] = blob.ref.version
    return load_trial(held, row.target, versions, at=until, limits=_LIMITS)


def _of_events(names: Iterable[str]) -> list[Kind]:
    return [KINDS[name] for name in names if name in KINDS and not KINDS[name].from_catalog]


def _events(
    store: ObjectStore, settings: Settings, target: Target, kind: Kind, window: Window, *, until: datetime, aged: bool
) -> Events:
    """Return what a kernel reads of the window, of which the last day ends early."""
    record = read_document(store, canonical_record_key(target, window.last), CanonicalRecord)
    last = before(read_events(store, target, window.last, record, columns=("ts", *kind.event_columns)), until)
    if window.first == window.last:
        return last
    earlier = {
        one: known for one, known in find_days(store, settings, target, window).records.items() if one != window.last
    }
    stored = read_tallies(store, target, kind, earlier) if earlier else []
    tallies = [*stored, tally_day(last, kind.event_columns)]
    ages = [(window.last - one).days for one in (*sorted(earlier), window.last)]
    return merge_tallies(with_ages(tallies, ages) if aged else tallies)
