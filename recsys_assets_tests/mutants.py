"""Mutation testing of what safety rests on: break the code in one place, and see that a test fails.

    python -m recsys_assets_tests.mutants [--sample 40] [--seed 1] [--only REGEX]

First the mutants that once survived, by name; then a sample of all that operators make of the modules below. Tests are
collected once; functions get the code of a mutant for a while, and meet the tests that run its line, quickest first; in
the end all run once more as they are. Ends 1 if a named one survives, or more than a tenth of the sample.
docs/explanation/how-safety-is-tested.md says why some survive.
"""

import argparse
import ast
import importlib
import inspect
import os
import random
import re
import sys
import threading
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FunctionType

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 300  # a test that takes longer fails: the mutant does not end
OUTPUT = os.dup(1)

STORAGE = ("storage/test_filesystem.py", "storage/test_contract.py", "storage/test_temporaries.py")
COMMIT = (
    "release/test_publish.py",
    "release/test_authors.py",
    "release/test_changed_meanwhile.py",
    "release/test_damaged_records.py",
    "release/test_pointer.py",
    "release/test_rollback.py",
    "release/test_rollout.py",
    "release/test_whole_candidate.py",
    "upkeep/test_clocks.py",
)
FORGET = ("privacy/test_fencing.py", "privacy/test_forgetting.py", "privacy/test_search.py")
GATES = (
    "gates/test_artifact.py",
    "gates/test_day.py",
    "gates/test_drift.py",
    "gates/test_modes.py",
    "gates/test_candidate.py",
    "gates/test_rules.py",
    "pipeline/test_bad_catalog.py",
    "pipeline/test_kinds_left_out.py",
    "pipeline/test_overrides.py",
    "pipeline/test_rehearsal.py",
    "pipeline/test_run_backtest.py",
)
COLLECTION = ("upkeep/test_collect.py", "upkeep/test_late_deletes.py", "upkeep/test_lost_entries.py")
MODULES = {  # and the tests that are to notice
    "storage/filesystem.py": (*STORAGE, "upkeep/test_relocate.py"),
    "storage/folders.py": STORAGE,
    "storage/proof.py": ("storage/test_proof.py", "upkeep/test_relocate.py"),
    "release/pointer.py": COMMIT,
    "release/journal.py": (*COMMIT, "upkeep/test_lost_entries.py"),
    "release/hold.py": COMMIT,
    "release/releases.py": COMMIT,
    "release/rollback.py": COMMIT,
    "release/change.py": (*COMMIT, *COLLECTION),
    "release/publish.py": (*COMMIT, *COLLECTION),
    "release/ship_rules.py": COMMIT,
    "release/recovery.py": COMMIT,
    "release/candidate.py": (*COMMIT, "pipeline/test_kinds_left_out.py", "pipeline/test_refused_days.py"),
    "release/trash.py": COLLECTION,
    "upkeep/sweep.py": COLLECTION,
    "upkeep/roots.py": COLLECTION,
    "upkeep/collect.py": COLLECTION,
    "gates/gate.py": GATES,
    "gates/artifact.py": GATES,
    "gates/canonical.py": GATES,
    "gates/day_activity.py": GATES,
    "gates/day_comparison.py": GATES,
    "gates/day_items.py": GATES,
    "gates/day_live.py": GATES,
    "gates/drift.py": GATES,
    "gates/policy.py": GATES,
    "gates/candidate.py": GATES,
    "release/forgotten_users.py": (*FORGET, "release/test_publish.py"),
    "privacy/forget.py": FORGET,
    "privacy/erase.py": FORGET,
    "privacy/search.py": FORGET,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module, and the tests that must fail by it."""

    name: str
    module: str
    line: int
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
        "release/ship_rules.py",
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
        "what is as old as the grace is young",
        "upkeep/collect.py",
        "item.modified < retention.grace.total_seconds()",
        "item.modified <= retention.grace.total_seconds()",
        COLLECTION,
    ),
    (
        "the trash is emptied after more than a grace",
        "upkeep/collect.py",
        "parse_rfc3339(s.at) >= retention.grace",
        "parse_rfc3339(s.at) > retention.grace",
        COLLECTION,
    ),
    (
        "what was left a grace ago is kept",
        "upkeep/roots.py",
        "(left_at or left_since) <= left_since",
        "(left_at or left_since) < left_since",
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
        "    if found.st_size > _HASHED_BYTES:",
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
        changed = next(n for n, (one, other) in enumerate(zip(old, f"{new}\0", strict=False)) if one != other)
        line = source.count("\n", 0, source.index(old) + changed) + 1
        yield Mutant(name, module, line, source.replace(old, new), tests)


def operators():
    """Yield what operators make of each module: comparisons, conditions, calls, answers, refusals; one at a time."""
    for module, tests in MODULES.items():
        tree = ast.parse((ROOT / "recsys_assets" / module).read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        inner = {node: None for function in functions for line in function.body for node in ast.walk(line)}
        for node in inner:  # code of functions can be changed in a process that has imported it
            for what, change, undo in changes_of(node):
                change()
                yield Mutant(f"{module}:{node.lineno} {what}", module, node.lineno, ast.unparse(tree), tests)
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
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not is_fault_point(node.value):
        old, new = node.value, ast.Constant(None)
        yield "call dropped", lambda: setattr(node, "value", new), lambda: setattr(node, "value", old)
    elif isinstance(node, ast.Return) and node.value is not None and not is_none(node.value):
        old, new = node.value, ast.Constant(None)
        yield "None returned", lambda: setattr(node, "value", new), lambda: setattr(node, "value", old)
    elif isinstance(node, ast.If) and any(isinstance(one, ast.Raise) for one in node.body):
        old, new = node.body, [ast.Pass()]
        yield "nothing raised", lambda: setattr(node, "body", new), lambda: setattr(node, "body", old)


def is_fault_point(call):
    """Return whether a call only marks where tests kill a process."""
    return isinstance(call.func, ast.Name) and call.func.id == "reach"


def is_none(node):
    """Return whether an expression is None, as it stands."""
    return isinstance(node, ast.Constant) and node.value is None


class Session:
    """A plugin: collects tests once, finds which of them run which line, then runs those for each mutant."""

    def __init__(self, mutants):
        self.mutants, self.alive, self.is_done = mutants, [], False
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}
        self.tests: dict[str, set[str]] = defaultdict(set)  # by `module:line`

    def pytest_runtest_logreport(self, report):
        """Note what fails."""
        self.failed += [report.nodeid] if report.failed else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        """Run the tests as they are; then, for each mutant, those that run its line; then all once more as they are."""
        self._watch(session.items)
        self._check_control()
        for mutant in self.mutants:
            chosen = self.tests.get(f"{mutant.module}:{mutant.line}", ())
            items = sorted(
                (one for one in session.items if one.nodeid in chosen), key=lambda one: self.seconds[one.nodeid]
            )
            begin = time.monotonic()
            with mutated(mutant):
                self._run(items)
            self.alive += [] if self.failed else [mutant]
            word = f"killed by {self.failed[0]}" if self.failed else "SURVIVED"
            say(f"{time.monotonic() - begin:.0f} s, {len(items)} tests: {mutant.name}: {word}")
            self.failed.clear()
        self._run(session.items)
        self._check_control()
        self.is_done = True
        return True

    def _check_control(self):
        if self.failed:
            say(f"{', '.join(self.failed[:5])} fail without a mutant: nothing can be learned from them")
            os._exit(2)

    def _run(self, items):
        for item, following in pairwise([*items, None]):
            item._initrequest()  # each runs more than once
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                with suppress(Exception):  # what a mutant left open may not close
                    item.session._setupstate.teardown_exact(None)
                return

    def _watch(self, items):
        place = f"{ROOT}/recsys_assets/"
        for item, following in pairwise([*items, None]):
            watched = set()

            def step(frame, event, _, watched=watched):
                if event == "line":
                    watched.add(f"{frame.f_code.co_filename.removeprefix(place)}:{frame.f_lineno}")
                return step

            def call(frame, *_, step=step):
                return step if frame.f_code.co_filename.removeprefix(place) in self._modules else None

            begin = time.perf_counter()
            threading.settrace(call)
            sys.settrace(call)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            sys.settrace(None)
            self.seconds[item.nodeid] = time.perf_counter() - begin
            for line in watched:
                self.tests[line].add(item.nodeid)

    @property
    def _modules(self):
        return {mutant.module for mutant in self.mutants}


@contextmanager
def mutated(mutant):
    """Give the functions of an imported module the code that its changed source has, for a while."""
    module = importlib.import_module(f"recsys_assets.{mutant.module.removesuffix('.py').replace('/', '.')}")
    changed = {}
    waiting = [compile(mutant.source, module.__file__, "exec")]
    while waiting:
        code = waiting.pop()
        changed[code.co_qualname] = code
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    owners = [module, *(one for one in vars(module).values() if isinstance(one, type))]
    before = {}
    for found in [one for owner in owners for one in vars(owner).values()]:
        function = inspect.unwrap(getattr(found, "fget", None) or getattr(found, "__func__", found))
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            before[function] = function.__code__
            function.__code__ = changed.get(function.__code__.co_qualname, function.__code__)
    try:
        yield
    finally:
        for function, code in before.items():
            function.__code__ = code


def say(line):
    """Print where pytest does not."""
    os.write(OUTPUT, f"{line}\n".encode())


def survivors(mutants):
    """Return which of these mutants no test kills."""
    session = Session(mutants)
    os.dup2(os.open(os.environ.get("MUTANTS_LOG", os.devnull), os.O_WRONLY | os.O_CREAT), 1)
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:schemathesis", f"--timeout={SECONDS}"]
    # Tests that try every interleaving take seconds: a cheaper one must do.
    options += ["-k", "not (reuses and anywhere) and not breaks_anywhere"]
    files = {str(ROOT / "recsys_assets_tests" / name) for mutant in mutants for name in mutant.tests}
    pytest.main([*options, *sorted(files)], plugins=[session])
    if not session.is_done:
        say("pytest ended before the mutants did: see what it says without the options of this program")
        sys.exit(2)
    return session.alive


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="regular expression of the names of mutants to try")
    asked = parser.parse_args()
    every = [mutant for mutant in operators() if re.search(asked.only, mutant.name)]
    chosen = random.Random(asked.seed).sample(every, min(asked.sample, len(every)))  # noqa: S311 - no secret
    known = [mutant for mutant in named() if re.search(asked.only, mutant.name)]
    alive = survivors([*known, *chosen])
    lost = [mutant for mutant in alive if mutant in known]
    sampled = [mutant for mutant in alive if mutant not in known]
    say(
        f"{len(known) - len(lost)} of {len(known)} named, {len(chosen) - len(sampled)} of {len(chosen)} sampled of "
        f"{len(every)} were killed"
    )
    sys.exit(1 if lost or len(sampled) * 10 > len(chosen) else 0)


if __name__ == "__main__":
    main()
