"""Things that go wrong, done to a small shop: one function a runbook, and what others do while somebody follows it."""

import resource
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from recsys_assets.release.layout import pointer_key
from recsys_assets.serving.reader import Reader
from recsys_assets_tests.small_shop import CART, HOME, SmallShop, after, day_lines

Act = Callable[[SmallShop], object]

HOME_ONLY = '\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
MISSPELT = '\n[[targets]]\ntenant = "shop"\nsurface = "hmoe"\n'


@dataclass(frozen=True, slots=True)
class Situation:
    """A runbook's page, the day that it is about, how the shop is broken, and what happens meanwhile."""

    page: str
    day: int
    spoil: Act
    meanwhile: dict[str, Act] = field(default_factory=dict)


def good_day(number: int, *, lines: int = 0) -> Act:
    """Return the act of sending an ordinary day, cut to its first `lines` if given."""
    return lambda shop: shop.write(
        after(number), day_lines(after(number), targets=[HOME], shift=number)[: lines or None]
    )


def built_day(number: int) -> Act:
    """Return the act of sending and building an ordinary day."""

    def act(shop: SmallShop) -> None:
        good_day(number)(shop)
        assert shop.run(after(number)).success

    return act


def torn_file(shop: SmallShop) -> None:
    (shop.folder / "raw" / f"{after(1)}.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00torn")


def whole_file(shop: SmallShop) -> None:
    (shop.folder / "raw" / f"{after(1)}.jsonl.gz").unlink()
    good_day(1)(shop)


def refused_day(shop: SmallShop) -> None:
    """Send a day of which a third cannot be read, and have the night's run refuse it."""
    lines = day_lines(after(1), targets=[HOME])
    shop.write(after(1), [line.replace('"v": 1', '"v": 9') if n % 3 else line for n, line in enumerate(lines)])
    assert not shop.run(after(1)).success


def lower_limit(shop: SmallShop) -> None:
    good_day(1)(shop)
    shop.configure("[limits]\nmax_events = 10\n", targets=HOME_ONLY)


def usual_settings(shop: SmallShop) -> None:
    shop.configure(targets=HOME_ONLY)


def lost_pointer(shop: SmallShop) -> None:
    shop.store.delete(pointer_key(HOME))


def full_disk(shop: SmallShop) -> None:
    """Let this process write no byte to any file: as on a full disk, and without needing one."""
    good_day(1)(shop)
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))


def roomy_disk(_: SmallShop) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def lost_database(shop: SmallShop) -> None:
    """Leave Dagster's home with nothing but its configuration."""
    home = shop.folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")


def late_line(shop: SmallShop) -> None:
    built_day(1)(shop)
    late = day_lines(after(0), targets=[HOME], shift=3)[:1]
    shop.write(after(0), late, name="-late")


def beat(shop: SmallShop) -> None:
    """Have the service look once and return what it serves."""
    reader = Reader(shop.store, HOME.tenant, HOME.surface, heartbeat="web-1")
    reader.refresh()
    reader.beat()


def stuck_reader(shop: SmallShop) -> None:
    beat(shop)
    built_day(1)(shop)


def empty_answers(shop: SmallShop) -> None:
    """Have the service ask two releases, the live one for ids that it does not have, and send its counts."""
    reader = Reader(shop.store, HOME.tenant, HOME.surface, heartbeat="web-1")
    reader.refresh()
    known = next(iter(reader.snapshot().rows("cooc"))).item_id
    for _ in range(1500):
        reader.snapshot().neighbors(known)
    built_day(1)(shop)
    reader.refresh()
    for _ in range(1500):
        reader.snapshot().neighbors("never seen")
    reader.beat()


def wrong_key(shop: SmallShop) -> None:
    shop.configure("[gates]\nmin_event = 3\n", targets=HOME_ONLY + MISSPELT)


def wrong_name(shop: SmallShop) -> None:
    shop.configure("[gates]\nmin_events = 3\n", targets=HOME_ONLY + MISSPELT)


def right_name(shop: SmallShop) -> None:
    shop.configure()
    shop.write(after(0), day_lines(after(0), targets=[HOME, CART]))


SIGNED = '[signing]\nkey = "file:signing.pem"\n'
SIGNED_AGAIN = SIGNED.replace("signing.pem", "new.pem")


def lost_key(shop: SmallShop) -> None:
    shop.configure(SIGNED, targets=HOME_ONLY)


def stolen_key(shop: SmallShop) -> None:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (shop.folder / "signing.pem").write_bytes(key)
    shop.configure(SIGNED, targets=HOME_ONLY)
    built_day(1)(shop)


def new_key(shop: SmallShop) -> None:
    shop.configure(SIGNED_AGAIN, targets=HOME_ONLY)


SITUATIONS = (
    Situation("signing-key-lost", 1, lost_key),
    Situation("signing-key-compromised", 1, stolen_key, {"the configuration names the new key": new_key}),
    Situation("pipeline-failed", 1, torn_file, {"the file is sent again": whole_file}),
    Situation("gate-refused", 1, refused_day, {"the file is sent again": good_day(1)}),
    Situation("limit-exceeded", 1, lower_limit, {"the limit is raised": usual_settings}),
    Situation("stale-target", 1, usual_settings, {"the file comes": good_day(1)}),
    Situation("bad-release", 2, built_day(1), {"the cause is fixed and the next day comes": good_day(2)}),
    Situation("stuck-reader", 1, stuck_reader, {"the service is restarted": beat}),
    Situation("empty-recommendations", 1, empty_answers, {"the service looks again": beat}),
    Situation("pointer-lost", 0, lost_pointer),
    Situation("store-full-or-down", 1, full_disk, {"there is room again": roomy_disk}),
    Situation("dagster-database-lost", 0, lost_database),
    Situation("late-data", 0, late_line),
    Situation(
        "wrong-tenant-config", 0, wrong_key, {"the key is corrected": wrong_name, "the name is corrected": right_name}
    ),
)
