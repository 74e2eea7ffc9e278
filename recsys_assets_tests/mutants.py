"""Mutation testing of what safety rests on: break the code in one place, and see that a test fails.

    python -m recsys_assets_tests.mutants [--sample 40] [--seed 1] [--only WORD]

First the mutants that once survived, by name; then a sample of all that operators make of the modules below. Works on a
copy. Prints each survivor; ends 1 if a named one survives, or more than a tenth of the sample.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300  # a mutant whose tests take longer counts as killed: it does not end

STORAGE = ("storage/test_filesystem.py", "storage/test_contract.py", "storage/test_temporaries.py")
COMMIT = (
    "release/test_publish.py",
    "release/test_authors.py",
    "release/test_changed_meanwhile.py",
    "release/test_damaged_records.py",
    "release/test_pointer.py",
    "release/test_rollback.py",
    "release/test_whole_candidate.py",
    "upkeep/test_clocks.py",
)
COLLECTION = ("upkeep/test_collect.py", "upkeep/test_late_deletes.py", "upkeep/test_lost_entries.py")
MODULES = {  # and the tests that are to notice
    "storage/filesystem.py": STORAGE,
    "storage/folders.py": STORAGE,
    "storage/proof.py": ("storage/test_proof.py",),
    "release/pointer.py": COMMIT,
    "release/change.py": COMMIT,
    "release/publish.py": COMMIT,
    "release/judgement.py": COMMIT,
    "release/recovery.py": COMMIT,
    "release/candidate.py": COMMIT,
    "release/trash.py": COLLECTION,
    "upkeep/sweep.py": COLLECTION,
    "upkeep/roots.py": COLLECTION,
    "upkeep/collect.py": COLLECTION,
    "gates/gate.py": ("gates/test_rules.py", "gates/test_modes.py"),
    "release/forgotten_users.py": ("privacy/test_fencing.py", "release/test_publish.py"),
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module, and the tests that must fail by it."""

    name: str
    module: str
    source: str  # the whole module, changed
    tests: tuple[str, ...]


NAMED = (
    (
        "create without a sync of its folder",
        "storage/filesystem.py",
        "            _sync(parent, key)\n            return _etag(new.found, data)\n\n    def swap",
        "            return _etag(new.found, data)\n\n    def swap",
        STORAGE,
    ),
    (
        "replace without a sync of its folder",
        "storage/filesystem.py",
        "            _sync(parent, key)\n            return _etag(new.found, data)\n\n    def _sweep",
        "            return _etag(new.found, data)\n\n    def _sweep",
        STORAGE,
    ),
    ("mkdir without a sync of its parent", "storage/folders.py", "    os.fsync(parent)\n", "", STORAGE),
    (
        "a collection that decided fences nobody",
        "release/change.py",
        "    if sweep.decided:",
        "    if False:",
        COLLECTION,
    ),
    (
        "a blob taken lately fences only if all were",
        "release/trash.py",
        "is_taken = bool(wanted & {",
        "is_taken = bool(wanted <= {",
        COLLECTION,
    ),
    (
        "the newest day is the candidate's",
        "release/judgement.py",
        "newest = max(release.data_through, live.data_through) if live else",
        "newest = release.data_through if live else",
        COMMIT,
    ),
    (
        "one release fewer is kept",
        "upkeep/roots.py",
        "is_enough = len(seen - bad) >= keep",
        "is_enough = len(seen - bad) > keep",
        COLLECTION,
    ),
    (
        "an announcement as old as the grace is stale",
        "upkeep/roots.py",
        "parse_rfc3339(intent.at) > retention.grace",
        "parse_rfc3339(intent.at) >= retention.grace",
        COLLECTION,
    ),
    (
        "what was held back is not kept",
        "upkeep/roots.py",
        "        if entry.outcome == HELD:",
        "        if False:",
        COLLECTION,
    ),
    (
        "nothing is taken back before the trash is emptied",
        "upkeep/collect.py",
        "        if is_needed and store.stat(",
        "        if False and store.stat(",
        COLLECTION,
    ),
    (
        "a collection goes on that another ended",
        "upkeep/sweep.py",
        "return found is not None and found.id == sweep.id",
        "return found is not None",
        COLLECTION,
    ),
    (
        "a blob is revived whatever its bytes",
        "release/trash.py",
        "if hashlib.sha256(data).hexdigest() != ref.digest:",
        "if False:",
        (*COLLECTION, "release/test_rollback.py"),
    ),
    (
        "a record is believed whatever its digest",
        "release/releases.py",
        "if not is_former(release) and release.digest != digest_of(release):",
        "if False:",
        COMMIT,
    ),
    (
        "an etag without a digest",
        "storage/filesystem.py",
        "    if found.st_size > _MARKED_BYTES:",
        "    if True:",
        STORAGE,
    ),
)

COMPARISONS = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def named():
    """Yield the mutants that have names; `ValueError` for one whose place is gone from the code."""
    for name, module, old, new, tests in NAMED:
        source = (ROOT / "recsys_assets" / module).read_text()
        if source.count(old) != 1:
            raise ValueError(f"{module}: {old!r} stands {source.count(old)} times: correct the mutant {name!r}")
        yield Mutant(name, module, source.replace(old, new), tests)


def operators():
    """Yield what operators make of each module: comparisons, conditions and calls, one at a time."""
    for module, tests in MODULES.items():
        tree = ast.parse((ROOT / "recsys_assets" / module).read_text())
        for node in ast.walk(tree):
            for what, change, undo in changes_of(node):
                change()
                yield Mutant(f"{module}:{node.lineno} {what}", module, ast.unparse(tree), tests)
                undo()


def changes_of(node):
    """Yield (what, do, undo) for each way in which a node can be broken."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        old = node.ops[0]
        new = COMPARISONS[type(old)]()
        what = f"{type(old).__name__} to {type(new).__name__}"
        yield what, lambda: node.ops.__setitem__(0, new), lambda: node.ops.__setitem__(0, old)
    elif isinstance(node, ast.BoolOp):
        old, new = node.op, ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield "and for or", lambda: setattr(node, "op", new), lambda: setattr(node, "op", old)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        old, new = node.operand, ast.UnaryOp(ast.Not(), node.operand)
        yield "not dropped", lambda: setattr(node, "operand", new), lambda: setattr(node, "operand", old)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        old, new = node.value, ast.Constant(None)
        yield "call dropped", lambda: setattr(node, "value", new), lambda: setattr(node, "value", old)


def is_killed(mutant, folder):
    """Return whether a test fails in a copy of the code that has the mutant."""
    place = folder / "recsys_assets" / mutant.module
    before = place.read_text()
    place.write_text(mutant.source)
    try:
        return fails(mutant.tests, folder)
    finally:
        place.write_text(before)


def fails(tests, folder):
    """Return whether one of these tests fails, or none ends in time."""
    files = [f"recsys_assets_tests/{name}" for name in tests]
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *files]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of the names of mutants to try")
    asked = parser.parse_args()
    every = [mutant for mutant in operators() if asked.only in mutant.name]
    chosen = random.Random(asked.seed).sample(every, min(asked.sample, len(every)))  # noqa: S311 - no secret
    known = [mutant for mutant in named() if asked.only in mutant.name]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("recsys_assets", "recsys_assets_tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for part in ("pyproject.toml", "docs", "recsys.toml"):
            (folder / part).symlink_to(ROOT / part)
        for tests in {mutant.tests for mutant in (*known, *chosen)}:
            if fails(tests, folder):
                sys.exit(f"{', '.join(tests)} fail without a mutant: nothing can be learned from them")
        alive: list[Mutant] = []
        for mutant in (*known, *chosen):
            killed = is_killed(mutant, folder)
            alive += [] if killed else [mutant]
            sys.stdout.write(f"{'killed' if killed else 'SURVIVED'}: {mutant.name}\n")
            sys.stdout.flush()
    lost = [mutant for mutant in alive if mutant in known]
    sampled = [mutant for mutant in alive if mutant not in known]
    sys.stdout.write(
        f"{len(known) - len(lost)} of {len(known)} named, {len(chosen) - len(sampled)} of {len(chosen)} sampled of "
        f"{len(every)} were killed\n"
    )
    sys.exit(1 if lost or len(sampled) * 10 > len(chosen) else 0)


if __name__ == "__main__":
    main()
