"""Layout of the store: every key below the root is made here, and every URI is checked here."""

import re
from datetime import date
from typing import Final

from recsys_assets.errors import CorruptObjectError, UnsafeNameError
from recsys_assets.identity import JSON_FORM, Target, check_segment, form_of
from recsys_assets.storage.store import check_key

POINTERS: Final = "registry/current/"

FORGOTTEN = "registry/forgotten/"  # below it, by target, who is to be forgotten
TALLIES = "tallies/"  # below it, by target and kind, what windows are put together from
PROFILE_ENDING: Final = ".profile.json"
TREES: Final = "trees/"  # below it, by hierarchy, what users keep in artifact trees


def raw_prefix(day: date, target: Target) -> str:
    """Return where the parts of a day's raw slice of a target lie."""
    return f"raw/{day}/{target.tenant}/{target.surface}/"


def raw_record_key(day: date) -> str:
    """Return the key of what a day's raw files held, for all targets."""
    return f"raw/{day}/record.json"


def quarantine_prefix(day: date) -> str:
    """Return where a day's bad lines lie."""
    return f"quarantine/{day}/"


def catalog_quarantine_key(target: Target, day: date) -> str:
    """Return the key of the bad rows of the catalog that a target's day was built from."""
    return f"{quarantine_prefix(day)}catalog/{target.tenant}/{target.surface}.jsonl"


def canonical_prefix(target: Target) -> str:
    """Return where a target's canonical days lie."""
    return f"canonical/{target.tenant}/{target.surface}/"


def canonical_key(target: Target, day: date) -> str:
    """Return the key of the typed Parquet object of one target and day."""
    return f"{canonical_prefix(target)}{day}.parquet"


def canonical_record_key(target: Target, day: date) -> str:
    """Return the key of what the canonical object holds and was built from."""
    return f"{canonical_prefix(target)}{day}.json"


def canonical_next_key(target: Target, day: date, digest: str) -> str:
    """Return the key of the record that follows once the canonical object with this digest is written."""
    return f"{canonical_prefix(target)}{day}.{digest[:16]}.next.json"


def canonical_gates_key(target: Target, day: date) -> str:
    """Return the key of what the gates said about the canonical object."""
    return f"{canonical_prefix(target)}{day}.gates.json"


def canonical_profile_key(target: Target, day: date) -> str:
    """Return the key of the counts and sketches that later days are compared with."""
    return f"{canonical_prefix(target)}{day}{PROFILE_ENDING}"


def tally_prefix(target: Target, kind: str) -> str:
    """Return where the tallies lie that windows of a kind are put together from; all of it can be made again."""
    return f"{TALLIES}{target.tenant}/{target.surface}/{check_segment(kind, what='artifact kind')}/"


def tally_key(target: Target, kind: str, day: date, address: str) -> str:
    """Return the key of one day's tally, by the address of what it is made of; keys sort as days do."""
    return f"{tally_prefix(target, kind)}{day}/{address}.arrow"


def tuning_prefix(target: Target) -> str:
    """Return where results of options are stored that `tune` has tried; all of it can be made again."""
    return f"tuning/{target.tenant}/{target.surface}/"


def tuning_key(target: Target, address: str) -> str:
    """Return the key of one option's result on one day, by the address of what it is made of."""
    return f"{tuning_prefix(target)}{address}.json"


def outcomes_prefix(target: Target) -> str:
    """Return where reports of what a target's days led to are stored; all of it can be made again."""
    return f"outcomes/{target.tenant}/{target.surface}/"


def outcomes_key(target: Target, day: date) -> str:
    """Return the key of the report of what one day's exposures led to."""
    return f"{outcomes_prefix(target)}{day}.json"


def blob_prefix(target: Target) -> str:
    """Return where a target's artifacts lie."""
    return f"artifacts/{target.tenant}/{target.surface}/"


def blob_key(target: Target, kind: str, version: str) -> str:
    """Return the key of the immutable blob of one artifact version."""
    return f"{blob_prefix(target)}{check_segment(kind, what='artifact kind')}/{blob_name(version)}"


def blob_name(version: str) -> str:
    """Return what a blob is called below its kind: its content hash, and its form as the ending."""
    return f"{version}.{JSON_FORM}" if form_of(version) == JSON_FORM else version


def version_of_name(name: str) -> str:
    """Return the version that a blob's name stands for."""
    return name.removesuffix(f".{JSON_FORM}")


def staged_prefix(target: Target) -> str:
    """Return where the references that a target's days staged lie."""
    return f"staging/{target.tenant}/{target.surface}/"


def staged_key(target: Target, day: date, kind: str) -> str:
    """Return the key of a day's reference to an artifact that was built."""
    return f"{staged_prefix(target)}{day}/{kind}.json"


def staged_day_key(target: Target, day: date) -> str:
    """Return the key of what one run staged of a day, all of it in one document."""
    return f"{staged_prefix(target)}{day}.json"


def staged_gates_key(target: Target, day: date, kind: str) -> str:
    """Return the key of what the gates said of a day's artifacts together; in format 1, of one artifact."""
    return f"{staged_prefix(target)}{day}/{kind}.gates.json"


def release_prefix(target: Target) -> str:
    """Return where a target's release records lie."""
    return f"releases/{target.tenant}/{target.surface}/"


def release_key(target: Target, release_id: str) -> str:
    """Return the key of one create-only release record."""
    return f"{release_prefix(target)}{release_id}.json"


def pointer_key(target: Target) -> str:
    """Return the key of the only mutable object that services read."""
    return f"{POINTERS}{target.tenant}/{target.surface}/manifest.json"


def target_of_pointer(key: str) -> Target | None:
    """Return whose pointer is stored at a key below `POINTERS`, or None if what is stored there is none."""
    tenant, _, rest = key.removeprefix(POINTERS).partition("/")
    surface, _, _ = rest.partition("/")
    try:
        target = Target(tenant, surface)
    except UnsafeNameError:
        return None
    return target if key == pointer_key(target) else None


def signature_prefix(target: Target) -> str:
    """Return where the signatures of a target's pointers lie."""
    return f"registry/signatures/{target.tenant}/{target.surface}/"


def signature_key(target: Target, version: int, digest: str) -> str:
    """Return the key of a pointer's signature, by its version and the SHA-256 of its bytes; keys sort by version."""
    return f"{signature_prefix(target)}{version:020d}-{digest}.json"


def hold_key(target: Target) -> str:
    """Return the key of the hold on a target."""
    return f"registry/hold/{target.tenant}/{target.surface}/hold.json"


def candidate_key(target: Target) -> str:
    """Return the key of the pointer to the release that is being rolled out, in the format of the live one."""
    return f"registry/candidate/{target.tenant}/{target.surface}/manifest.json"


def rollout_key(target: Target) -> str:
    """Return the key of how far a rollout is: what readers follow, and what each step swaps."""
    return f"registry/candidate/{target.tenant}/{target.surface}/rollout.json"


def blocked_key(target: Target) -> str:
    """Return the key of the list of items that readers leave out of every answer."""
    return f"registry/blocked/{target.tenant}/{target.surface}/items.json"


def label_key(target: Target, label: str, release_id: str) -> str:
    """Return the key of one label on a release: there or not there."""
    return f"registry/{label}/{target.tenant}/{target.surface}/{release_id}.json"


def label_prefix(target: Target, label: str) -> str:
    """Return where the releases of a target that carry a label are named."""
    return f"registry/{label}/{target.tenant}/{target.surface}/"


def tag_key(target: Target, name: str) -> str:
    """Return the key of a name that a release of a target has."""
    return f"{tag_prefix(target)}{name}.json"


def tag_prefix(target: Target) -> str:
    """Return where the names of a target's releases lie."""
    return f"registry/tags/{target.tenant}/{target.surface}/"


def webhook_key(target: Target, name: str) -> str:
    """Return the key of how much of a target's journal one receiver of webhooks took."""
    return f"registry/webhooks/{target.tenant}/{target.surface}/{name}.json"


def forgotten_key(target: Target, name: str) -> str:
    """Return the key of the note that a user is to be forgotten, by the hash that names the user."""
    return f"{FORGOTTEN}{target.tenant}/{target.surface}/{name}.json"


def journal_prefix(target: Target) -> str:
    """Return where a target's journal entries lie."""
    return f"registry/journal/{target.tenant}/{target.surface}/"


def journal_key(target: Target, sequence: int) -> str:
    """Return the key of one create-only journal entry; keys sort as sequences do."""
    return f"{journal_prefix(target)}{sequence:012d}.json"


def heartbeat_prefix(target: Target) -> str:
    """Return where the consumers of a target report what they serve; the only prefix that a consumer may write."""
    return f"heartbeats/{target.tenant}/{target.surface}/"


def heartbeat_key(target: Target, consumer: str) -> str:
    """Return the key of what one consumer says that it serves."""
    return f"{heartbeat_prefix(target)}{check_segment(consumer, what='consumer')}.json"


def intent_prefix(target: Target) -> str:
    """Return where a target's changes under way are announced."""
    return f"intents/{target.tenant}/{target.surface}/"


def intent_key(target: Target, intent_id: str) -> str:
    """Return the key of one change under way."""
    return f"{intent_prefix(target)}{intent_id}.json"


def is_intent_key(target: Target, key: str) -> bool:
    """Return whether a key below `intent_prefix` can be that of a change under way: anything else is a stray."""
    return re.fullmatch(r"[0-9a-f]{32}\.json", key.removeprefix(intent_prefix(target))) is not None


def sweep_key(target: Target) -> str:
    """Return the key of a collection under way; it sorts after every intent, so a listing that ends early lacks it."""
    return f"{intent_prefix(target)}sweep.json"


def trash_prefix(target: Target) -> str:
    """Return where what collection took waits for its end."""
    return f"trash/{target.tenant}/{target.surface}/"


def trashed_key(target: Target, sweep_id: str, kind: str, version: str) -> str:
    """Return the key of a blob in the trash."""
    return f"{trash_prefix(target)}{sweep_id}/{kind}/{blob_name(version)}"


def trash_record_key(target: Target, sweep_id: str) -> str:
    """Return the key of what one collection took, and when."""
    return f"{trash_prefix(target)}{sweep_id}/sweep.json"


def tree_log_key(hierarchy: str, sequence: int) -> str:
    """Return the key of one create-only entry of a hierarchy's log."""
    return f"{TREES}{hierarchy}/log/{sequence:012d}.json"


def tree_segment_key(hierarchy: str, level: int, number: int) -> str:
    """Return the key of a segment: 16 to the power of `level` entries of the log, one after the other."""
    return f"{TREES}{hierarchy}/log/segments/{level}/{number:012d}.jsonl.zst"


def node_prefix(hierarchy: str, node: str = "") -> str:
    """Return where the revisions and contents of a node lie, or those of all nodes of a hierarchy."""
    return f"{TREES}{hierarchy}/nodes/{node}/" if node else f"{TREES}{hierarchy}/nodes/"


def node_key(hierarchy: str, node: str, digest: str) -> str:
    """Return the key of one revision of a node, by the SHA-256 of its document."""
    return f"{node_prefix(hierarchy, node)}{digest}.json"


def node_content_key(hierarchy: str, node: str, digest: str) -> str:
    """Return the key of content of a node, by its SHA-256."""
    return f"{node_prefix(hierarchy, node)}{digest}.content"


def uri_of_key(root_uri: str, key: str) -> str:
    """Return the URI that services resolve."""
    return f"{root_uri}/{check_key(key)}"


def key_of_uri(root_uri: str, uri: str) -> str:
    """Return the key that a URI names below the root; `CorruptObjectError` for anything that could lead elsewhere."""
    if not uri.startswith(f"{root_uri}/"):
        raise CorruptObjectError(
            f"URI {uri[:500]!r} is not below {root_uri}: this store serves nothing else; "
            "of a store that was moved or copied, `recsys-assets relocate` writes the pointers again"
        )
    try:
        return check_key(uri[len(root_uri) + 1 :])
    except UnsafeNameError as error:
        raise CorruptObjectError(f"URI {uri[:500]!r} names no object: {error}") from error
