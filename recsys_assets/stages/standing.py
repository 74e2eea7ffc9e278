"""Whether a day of a target is done: built of the raw files that are there, gated by the limits that hold, recorded."""

from datetime import date

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import CorruptObjectError, RefusedError
from recsys_assets.manifest.candidate import read_candidate
from recsys_assets.manifest.documents import CanonicalRecord
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import canonical_record_key
from recsys_assets.manifest.pointer import release_id_of
from recsys_assets.manifest.releases import find_release
from recsys_assets.sources.finding import find_inputs
from recsys_assets.stages.overriding import as_recorded
from recsys_assets.stages.ship import requirements
from recsys_assets.stages.user_key import configured_key, mark_of_key, mark_of_record
from recsys_assets.storage.store import ObjectStore


def stands(store: ObjectStore, settings: Settings, row: TargetSettings, day: date) -> bool:
    """Tell whether building this day of a target again could change nothing, but for what code has changed since.

    Its raw files are compared by content, its gates by the bytes and the limits that they judged; a day without files,
    and one that a gate refused, does not stand.
    """
    try:
        record = find_document(store, canonical_record_key(row.target, day), CanonicalRecord)
        if record is None or _raw(settings, row, day) != _read(record):
            return False
        required = as_recorded(store, settings, row, day, requirements(settings, row))
        candidate = read_candidate(store, row.target, day, kinds=settings.kinds_for(row), requirements=required)
        return find_release(store, row.target, release_id_of(row.target, candidate.versions)) is not None
    except (RefusedError, CorruptObjectError):
        return False


def _raw(settings: Settings, row: TargetSettings, day: date) -> set[tuple[str, str]]:
    files = find_inputs(settings.model_copy(update={"targets": (row,)}), day)
    return {(file.name, file.digest()) for file in files} | mark_of_key(configured_key(settings))


def _read(record: CanonicalRecord) -> set[tuple[str, str]]:
    return {(used.name, used.digest) for used in record.inputs} | mark_of_record(record)
