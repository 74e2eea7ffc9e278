"""Layout of the store: builds every key below the root and checks every URI."""

import re
from datetime import date
from typing import Final

from recsys_assets.errors import CorruptObjectError, UnsafeNameError
from recsys_assets.identity import JSON_FORM, Target, check_segment, form_of
from recsys_assets.storage.store import check_key

POINTERS: Final = "registry/current/"

FORGOTTEN = "registry/forgotten/"  # per target: notes of users to forget
TALLIES = "tallies/"  # per target and kind: tallies of days, which windows are summed from
PROFILE_ENDING: Final = ".profile.json"
TREES: Final = "trees/"  # per hierarchy: content of artifact trees


def raw_prefix(day: date, target: Target) -> str:
    """Return the prefix of the parts of a target's raw day."""
    return f"raw/{day}/{target.tenant}/{target.surface}/"


def raw_record_key(day: date) -> str:
    """Return the key of the record of a day's raw files, for all targets."""
    return f"raw/{day}/record.json"


def quarantine_prefix(day: date) -> str:
    """Return the prefix of a day's bad lines."""
    return f"quarantine/{day}/"


def catalog_quarantine_key(target: Target, day: date) -> str:
    """Return the key of the bad rows of the catalog that a target's day was built from."""
    return f"{quarantine_prefix(day)}catalog/{target.tenant}/{target.surface}.jsonl"


def canonical_prefix(target: Target) -> str:
    """Return the prefix of a target's canonical days."""
    return f"canonical/{target.tenant}/{target.surface}/"


def canonical_key(target: Target, day: date) -> str:
    """Return the key of the typed Parquet object of one target and day."""
    return f"{canonical_prefix(target)}{day}.parquet"


def canonical_record_key(target: Target, day: date) -> str:
    """Return the key of the canonical record: counts and inputs of the canonical object."""
    return f"{canonical_prefix(target)}{day}.json"


def canonical_next_key(target: Target, day: date, digest: str) -> str:
    """Return the key of the record that becomes valid once the canonical object with this digest is written."""
    return f"{canonical_prefix(target)}{day}.{digest[:16]}.next.json"


def canonical_gates_key(target: Target, day: date) -> str:
    """Return the key of the gate report on the canonical object (format 1)."""
    return f"{canonical_prefix(target)}{day}.gates.json"


def canonical_profile_key(target: Target, day: date) -> str:
    """Return the key of the profile (counts and sketches) that later days are compared with (format 1)."""
    return f"{canonical_prefix(target)}{day}{PROFILE_ENDING}"


def tally_prefix(target: Target, kind: str) -> str:
    """Return the prefix of the tallies that windows of a kind are summed from. All can be rebuilt."""
    return f"{TALLIES}{target.tenant}/{target.surface}/{check_segment(kind, what='artifact kind')}/"


def tally_key(target: Target, kind: str, day: date, address: str) -> str:
    """Return the key of one day's tally. Its `address` is the cache key of its inputs. Keys sort by day."""
    return f"{tally_prefix(target, kind)}{day}/{address}.arrow"


def tuning_prefix(target: Target) -> str:
    """Return the prefix of the results of options that `tune` has tried. All can be rebuilt."""
    return f"tuning/{target.tenant}/{target.surface}/"


def tuning_key(target: Target, address: str) -> str:
    """Return the key of one option's result on one day. Its `address` is the cache key of its inputs."""
    return f"{tuning_prefix(target)}{address}.json"


def outcomes_prefix(target: Target) -> str:
    """Return the prefix of the outcome reports of a target's days. All can be rebuilt."""
    return f"outcomes/{target.tenant}/{target.surface}/"


def outcomes_key(target: Target, day: date) -> str:
    """Return the key of the outcome report of one day's exposures."""
    return f"{outcomes_prefix(target)}{day}.json"


def blob_prefix(target: Target) -> str:
    """Return the prefix of a target's artifacts."""
    return f"artifacts/{target.tenant}/{target.surface}/"


def blob_key(target: Target, kind: str, version: str) -> str:
    """Return the key of the immutable blob of one artifact version."""
    return f"{blob_prefix(target)}{check_segment(kind, what='artifact kind')}/{blob_name(version)}"


def blob_name(version: str) -> str:
    """Return the name of a blob below its kind: its content hash, with the format as extension."""
    return f"{version}.{JSON_FORM}" if form_of(version) == JSON_FORM else version


def version_of_name(name: str) -> str:
    """Return the version that a blob's name contains."""
    return name.removesuffix(f".{JSON_FORM}")


def staged_prefix(target: Target) -> str:
    """Return the prefix of the artifact references staged for a target's days."""
    return f"staging/{target.tenant}/{target.surface}/"


def staged_key(target: Target, day: date, kind: str) -> str:
    """Return the key of a day's staged reference to an artifact."""
    return f"{staged_prefix(target)}{day}/{kind}.json"


def staged_day_key(target: Target, day: date) -> str:
    """Return the key of the single document with everything that one run staged for a day."""
    return f"{staged_prefix(target)}{day}.json"


def staged_gates_key(target: Target, day: date, kind: str) -> str:
    """Return the key of the gate report on a day's artifacts together or, in format 1, on one artifact."""
    return f"{staged_prefix(target)}{day}/{kind}.gates.json"


def release_prefix(target: Target) -> str:
    """Return the prefix of a target's release records."""
    return f"releases/{target.tenant}/{target.surface}/"


def release_key(target: Target, release_id: str) -> str:
    """Return the key of one create-only release record."""
    return f"{release_prefix(target)}{release_id}.json"


def pointer_key(target: Target) -> str:
    """Return the key of the only mutable object that services read."""
    return f"{POINTERS}{target.tenant}/{target.surface}/manifest.json"


def target_of_pointer(key: str) -> Target | None:
    """Return the target whose pointer has this key below `POINTERS`, or None if it is not a pointer's key."""
    tenant, _, rest = key.removeprefix(POINTERS).partition("/")
    surface, _, _ = rest.partition("/")
    try:
        target = Target(tenant, surface)
    except UnsafeNameError:
        return None
    return target if key == pointer_key(target) else None


def signature_prefix(target: Target) -> str:
    """Return the prefix of the signatures of a target's pointers."""
    return f"registry/signatures/{target.tenant}/{target.surface}/"


def signature_key(target: Target, version: int, digest: str) -> str:
    """Return the key of a pointer's signature, by its version and the SHA-256 of its bytes. Keys sort by version."""
    return f"{signature_prefix(target)}{version:020d}-{digest}.json"


def hold_key(target: Target) -> str:
    """Return the key of the hold on a target."""
    return f"registry/hold/{target.tenant}/{target.surface}/hold.json"


def candidate_key(target: Target) -> str:
    """Return the key of the pointer to the release that is being rolled out, in the format of the live one."""
    return f"registry/candidate/{target.tenant}/{target.surface}/manifest.json"


def rollout_key(target: Target) -> str:
    """Return the key of a rollout's state, which readers follow and each step swaps."""
    return f"registry/candidate/{target.tenant}/{target.surface}/rollout.json"


def blocked_key(target: Target) -> str:
    """Return the key of the blocked items, which readers exclude from every response."""
    return f"registry/blocked/{target.tenant}/{target.surface}/items.json"


def label_key(target: Target, label: str, release_id: str) -> str:
    """Return the key of one label on a release. The label applies while the object exists."""
    return f"registry/{label}/{target.tenant}/{target.surface}/{release_id}.json"


def label_prefix(target: Target, label: str) -> str:
    """Return the prefix of the labels of one type on a target's releases."""
    return f"registry/{label}/{target.tenant}/{target.surface}/"


def tag_key(target: Target, name: str) -> str:
    """Return the key of a tag, a name of one of a target's releases."""
    return f"{tag_prefix(target)}{name}.json"


def tag_prefix(target: Target) -> str:
    """Return the prefix of the tags of a target's releases."""
    return f"registry/tags/{target.tenant}/{target.surface}/"


def webhook_key(target: Target, name: str) -> str:
    """Return the key of the delivery state of one webhook receiver for a target's journal."""
    return f"registry/webhooks/{target.tenant}/{target.surface}/{name}.json"


def forgotten_key(target: Target, name: str) -> str:
    """Return the key of the note that a user is to be forgotten. Its `name` is the hash of the user."""
    return f"{FORGOTTEN}{target.tenant}/{target.surface}/{name}.json"


def journal_prefix(target: Target) -> str:
    """Return the prefix of a target's journal entries."""
    return f"registry/journal/{target.tenant}/{target.surface}/"


def journal_key(target: Target, sequence: int) -> str:
    """Return the key of one create-only journal entry. Keys sort by sequence."""
    return f"{journal_prefix(target)}{sequence:012d}.json"


def heartbeat_prefix(target: Target) -> str:
    """Return the prefix of the heartbeats of a target's consumers, the only one that a consumer may write."""
    return f"heartbeats/{target.tenant}/{target.surface}/"


def heartbeat_key(target: Target, consumer: str) -> str:
    """Return the key of one consumer's heartbeat."""
    return f"{heartbeat_prefix(target)}{check_segment(consumer, what='consumer')}.json"


def intent_prefix(target: Target) -> str:
    """Return the prefix of the intents (changes under way) of a target."""
    return f"intents/{target.tenant}/{target.surface}/"


def intent_key(target: Target, intent_id: str) -> str:
    """Return the key of the intent of one change under way."""
    return f"{intent_prefix(target)}{intent_id}.json"


def is_intent_key(target: Target, key: str) -> bool:
    """Return whether a key below `intent_prefix` can be that of an intent. Any other object is a stray."""
    return re.fullmatch(r"[0-9a-f]{32}\.json", key.removeprefix(intent_prefix(target))) is not None


def sweep_key(target: Target) -> str:
    """Return the key of a collection under way. It sorts after every intent, so a listing that ends early lacks it."""
    return f"{intent_prefix(target)}sweep.json"


def trash_prefix(target: Target) -> str:
    """Return the prefix of collected blobs that wait for deletion."""
    return f"trash/{target.tenant}/{target.surface}/"


def trashed_key(target: Target, sweep_id: str, kind: str, version: str) -> str:
    """Return the key of a blob in the trash."""
    return f"{trash_prefix(target)}{sweep_id}/{kind}/{blob_name(version)}"


def trash_record_key(target: Target, sweep_id: str) -> str:
    """Return the key of the record of one collection in the trash."""
    return f"{trash_prefix(target)}{sweep_id}/sweep.json"


def tree_log_key(hierarchy: str, sequence: int) -> str:
    """Return the key of one create-only entry of a hierarchy's log."""
    return f"{TREES}{hierarchy}/log/{sequence:012d}.json"


def tree_segment_key(hierarchy: str, level: int, number: int) -> str:
    """Return the key of a segment: 16 to the power of `level` consecutive entries of the log."""
    return f"{TREES}{hierarchy}/log/segments/{level}/{number:012d}.jsonl.zst"


def node_prefix(hierarchy: str, node: str = "") -> str:
    """Return the prefix of the revisions and contents of a node, or of all nodes of a hierarchy."""
    return f"{TREES}{hierarchy}/nodes/{node}/" if node else f"{TREES}{hierarchy}/nodes/"


def node_key(hierarchy: str, node: str, digest: str) -> str:
    """Return the key of one revision of a node, by the SHA-256 of its document."""
    return f"{node_prefix(hierarchy, node)}{digest}.json"


def node_content_key(hierarchy: str, node: str, digest: str) -> str:
    """Return the key of content of a node, by its SHA-256."""
    return f"{node_prefix(hierarchy, node)}{digest}.content"


def uri_of_key(root_uri: str, key: str) -> str:
    """Return the URI of a key, as services resolve it."""
    return f"{root_uri}/{check_key(key)}"


def key_of_uri(root_uri: str, uri: str) -> str:
    """Return the key of a URI below the root. Raises `CorruptObjectError` for a URI that could lead elsewhere."""
    if not uri.startswith(f"{root_uri}/"):
        raise CorruptObjectError(
            f"URI {uri[:500]!r} is not below {root_uri}, the root of this store. "
            "If the store was moved or copied, rewrite its pointers by `recsys-assets relocate`"
        )
    try:
        return check_key(uri[len(root_uri) + 1 :])
    except UnsafeNameError as error:
        raise CorruptObjectError(f"URI {uri[:500]!r} is not the URI of an object: {error}") from error
