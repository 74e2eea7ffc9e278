"""Tree of inputs: target > release > artifact > canonical day > raw file, to a depth."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from recsys_assets.api.problems import base_name
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.release.documents import CanonicalDay, Input, Member, Release
from recsys_assets.release.layout import canonical_prefix

LEVELS: Final = ("target", "release", "artifact", "canonical day", "raw file")
MAX_CHILDREN: Final = 400  # per node: more than the days of a year


class Node(msgspec.Struct, frozen=True):
    """One node of the tree with its inputs. `left_out` counts children beyond the depth or `MAX_CHILDREN`."""

    level: int
    label: str
    id: str
    name: str
    facts: Mapping[str, Scalar]
    children: "tuple[Node, ...]"
    left_out: int


def target_tree(target: Target, release: Release | None, *, depth: int) -> Node:
    """Return a target and, to a depth, the inputs of its release (None if it has no live release)."""
    below = [release] if release else []
    children = tuple(release_tree(recorded, depth=depth - 1) for recorded in below) if depth else ()
    return _node(0, str(target), str(target), {"segment": target.segment}, children, of=len(below))


def release_tree(release: Release, *, depth: int) -> Node:
    """Return a release with its artifacts, their canonical days, and those days' raw files."""
    shown = release.members[:MAX_CHILDREN] if depth > 0 else ()
    children = tuple(artifact_tree(release, member, depth=depth - 1) for member in shown)
    facts: dict[str, Scalar] = {"data_through": release.data_through, "recorded_at": release.recorded_at}
    return _node(1, release.id, release.id[:12], facts, children, of=len(release.members))


def artifact_tree(release: Release, member: Member, *, depth: int) -> Node:
    """Return an artifact with its inputs."""
    days = {f"{_prefix(release)}{day.day}.parquet": day for day in release.canonical}
    shown = member.inputs[:MAX_CHILDREN] if depth > 0 else ()
    children = tuple(_input_tree(used, days.get(used.name), release, depth=depth - 1) for used in shown)
    facts: dict[str, Scalar] = {
        "window_first": member.window_first,
        "window_last": member.window_last,
        "bytes": member.size,
        "gates_passed": member.gates.passed,
    }
    return _node(2, member.ref.version, member.ref.kind, facts, children, of=len(member.inputs))


def day_of_input(name: str, target: Target) -> str | None:
    """Return the canonical day that an input's name refers to, or None for other inputs."""
    prefix = canonical_prefix(target)
    if name.startswith(prefix) and name.endswith(".parquet"):
        return name[len(prefix) : -len(".parquet")]
    return None


def input_name(name: str, target: Target) -> str:
    """Return the public name of an input: its day, or a file name without its folder."""
    day = day_of_input(name, target)
    if day is not None:
        return day
    prefix, colon, path = name.partition(":")
    return f"{prefix} {base_name(path)}" if colon and not path.startswith("//") else base_name(name)


def _input_tree(used: Input, day: CanonicalDay | None, release: Release, *, depth: int) -> Node:
    name = input_name(used.name, Target(release.tenant, release.surface))
    if day is None:  # a catalog, or a day whose record the release does not contain
        level = 3 if day_of_input(used.name, Target(release.tenant, release.surface)) else 4
        return _node(level, used.digest, name, {"bytes": used.size}, (), of=0)
    facts: dict[str, Scalar] = {"bytes": used.size, "gates_passed": day.gates.passed}
    shown: Sequence[Input] = day.inputs[:MAX_CHILDREN] if depth > 0 else ()
    files = tuple(_node(4, file.digest, base_name(file.name), {"bytes": file.size}, (), of=0) for file in shown)
    return _node(3, used.digest, name, facts, files, of=len(day.inputs))


def _node(
    level: int, identifier: str, name: str, facts: Mapping[str, Scalar], children: "tuple[Node, ...]", *, of: int
) -> Node:
    return Node(level, LEVELS[level], identifier, name, facts, children, of - len(children))


def _prefix(release: Release) -> str:
    return canonical_prefix(Target(release.tenant, release.surface))
