"""The key by which user ids are hashed on their way in, and how records show a change of it."""

from msgspec import UNSET

from recsys_assets.evidence import Scalar
from recsys_assets.ingest.pseudonyms import UserKey, read_user_key
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.settings.settings import Settings

FACT = "user_key"  # the fact that holds the id of the key of an artifact's users
USER_KEY = "user key"  # in place of a file's name, for the mark of a key
_FILE = "file:"
Mark = frozenset[tuple[str, str]]


def configured_key(settings: Settings) -> UserKey | None:
    """Return the key that `raw.user_key` names, or None if ids are kept; `ConfigurationError` if it is not there."""
    place = settings.raw.user_key
    if place is None:
        return None
    path = place.removeprefix(_FILE)
    return read_user_key(place if path == place else _FILE + settings.resolve(path))


def mark_of_key(key: UserKey | None) -> Mark:
    """Return what stands beside names and digests of files where days are compared: the key is an input, too."""
    return frozenset() if key is None else frozenset({(USER_KEY, key.id)})


def mark_of_record(record: CanonicalRecord | RawRecord) -> Mark:
    """Return the mark of the key that a day was read under."""
    key = key_of_record(record)
    return frozenset() if key is None else frozenset({(USER_KEY, key)})


def key_of_record(record: CanonicalRecord | RawRecord) -> str | None:
    """Return the id of the key that a day was read under, or None if ids were kept as they were sent."""
    return None if record.user_key is UNSET else record.user_key


def fact_of_key(record: CanonicalRecord) -> dict[str, Scalar]:
    """Return what an artifact says of the key of its users, so that a release says under which one to look them up."""
    key = key_of_record(record)
    return {} if key is None else {FACT: key}
