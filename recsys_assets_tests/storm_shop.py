"""The shop of a storm whose days are really built: raw files, imports, users who are forgotten, a search of bytes."""

import io
import json
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import import_day, judge_import
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, labelled, lift_label
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import Retention
from recsys_assets_tests.small_shop import SmallShop, after, day_lines, open_shop

BUILT = Target("shop", "cart")
BUILDER = Actor("builder", "a storm")
KEEP_LIVE = Retention(keep=1, grace=timedelta(0))  # a release that is kept holds whoever is forgotten
DAYS, FORGETTABLE = 4, 2  # of three visitors: no gate lets a kind ship without rows
ROUNDS = 4  # of forgetting and collecting, as a person does until nothing is left
COMMANDS = ("build",) * 4 + ("drop", "late", "forget", "forget", "collect", "collect")
SETTINGS = """
[artifacts]
kinds = ["popularity", "implicit"]
[artifacts.implicit]
window_days = 2
[imports.vectors]
path = "drop/{day}.npz"
format = "npz"
contract = { ids = "string[n]", v = "float32[n,2]" }
"""


def open_built_shop(folder: Path) -> SmallShop:
    """Write the raw files of every day, with visitors whose names are nothing else's, and an import for each."""
    folder.mkdir()
    shop = open_shop(folder, None)
    shop.configure(SETTINGS, targets='[[targets]]\ntenant = "shop"\nsurface = "cart"\n')
    (folder / "drop").mkdir()
    for n in range(DAYS):
        shop.write(after(n), [_renamed(line) for line in day_lines(after(n), targets=[BUILT], shift=n)])
        drop(shop, n, rows=3)
    return shop


def visitor(n: int) -> str:
    """Return the name of a visitor."""
    return f"visitor-{2 * n + 1:04}-quagga"


def _renamed(line: str) -> str:
    event = json.loads(line)
    if "user_id" in event:
        event["user_id"] = visitor(int(event["user_id"][1:]) // 2)
    return json.dumps(event)


def drop(shop: SmallShop, n: int, *, rows: int) -> None:
    """Put the file of another team for a day, whole, as it must be dropped."""
    stream = io.BytesIO()
    np.savez(stream, ids=np.array([f"i{n}" for n in range(rows)]), v=np.full((rows, 2), rows, np.float32))
    _put(shop.folder / "drop" / f"{after(n)}.npz", stream.getvalue())


def add_late(shop: SmallShop, n: int, number: int) -> None:
    """Put one more raw file of a day: a session that came late."""
    lines = [_renamed(line) for line in day_lines(after(n), targets=[BUILT])]
    text = "".join(f"{line}\n" for line in lines if '"s1"' in line).replace('"s1"', f'"late{number}"')
    _put(shop.folder / "raw" / f"{after(n)}-late{number}.jsonl", text.encode())


def _put(path: Path, data: bytes) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(data)
    part.rename(path)


def build(shop: SmallShop, store, n: int, now, *, allow_older: bool = False) -> None:
    """Build a day as a run does, step by step, and ship it."""
    settings = shop.settings
    (row,) = settings.targets
    build_raw(store, settings, after(n))
    context = DayContext(store, settings, row, after(n), run_id="storm", now=now)
    build_canonical(context)
    judge_canonical(context)
    for kind in settings.artifacts.kinds:
        build_artifact(context, kind)
        judge_artifact(context, kind)
    import_day(context, "vectors")
    judge_import(context, "vectors")
    ship_day(context, by=BUILDER, allow_older=allow_older)


def forget(shop: SmallShop, store, user: str, now):
    """Forget a user of the built target."""
    (row,) = shop.settings.targets
    return forget_user(ForgetRequest(store, shop.settings, row, user, BUILDER, now))


def act(shop: SmallShop, store, dice: random.Random, now, forgotten: int) -> None:
    """Do one random command; write down whom the store was proven to hold no more."""
    command = dice.choice(COMMANDS)
    if command == "build":
        build(shop, store, dice.randrange(DAYS), now, allow_older=dice.random() < 0.5)
    elif command == "drop":
        drop(shop, dice.randrange(DAYS), rows=dice.randrange(2, 5))
    elif command == "late":
        add_late(shop, dice.randrange(DAYS), dice.randrange(3))
    elif command == "forget":
        user = visitor(dice.randrange(FORGETTABLE))
        for _ in range(ROUNDS):
            if forget(shop, store, user, now).exit_code == 0:
                os.write(forgotten, f"{user}\n".encode())
                return
            collect(store, BUILT, by=BUILDER, now=now, retention=KEEP_LIVE, apply=True)
    else:
        collect(store, BUILT, by=BUILDER, now=now, retention=KEEP_LIVE, apply=True)


def work(store, shop_folder: Path, logs: Path, seed: float, end: float) -> None:
    """Run commands until the end, by a clock that differs from the others' by up to an hour."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    dice = random.Random(seed)  # noqa: S311 - no secret
    skew = timedelta(seconds=dice.uniform(-3600, 3600))
    shop = SmallShop(shop_folder, None)
    forgotten = os.open(logs / "forgotten", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    counts = os.open(logs / "built", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while time.time() < end:
        try:
            act(shop, store(dice), dice, lambda: datetime.now(UTC) + skew, forgotten)
        except RecsysAssetsError:
            continue  # refused, lost, or no answer: what a person sees, and may run again
        os.write(counts, b".")


def text_of(data: bytes) -> bytes:
    """Return the bytes of an object, unpacked if they are a table's: what a search without our code looks through."""
    if data.startswith(b"PAR1"):
        return repr(pq.read_table(io.BytesIO(data)).to_pylist()).encode()
    if data.startswith(b"ARROW1"):
        table = ipc.open_file(pa.BufferReader(data[: data.rindex(b"ARROW1") + 6])).read_all()
        return repr(table.to_pylist()).encode()
    return data


def erased_at_last(shop: SmallShop, store, users: set[str], now, *, lifetime: timedelta) -> list[str]:
    """Do what a person does who was asked to forget these users; return whom a store then still holds, and where."""
    problems = []
    for label in Labelled:  # what a rollback marked bad may ship, and what was pinned is collected
        for release_id in labelled(store, BUILT, label):
            lift_label(store, BUILT, label, release_id)
    for n in range(DAYS):
        build(shop, store, n, now, allow_older=True)
    for user in sorted(users):
        for _ in range(5):
            outcome = forget(shop, store, user, now)
            if outcome.exit_code == 0:
                break
            collect(store, BUILT, by=BUILDER, now=now, retention=KEEP_LIVE, apply=True)
            time.sleep(lifetime.total_seconds())
        else:
            problems.append(f"{user} cannot be forgotten: {outcome.message}: {outcome.places}")
    return problems
