"""Signed pointers: readers that trust keys take nothing else from a hostile store, and keys change without a gap."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from recsys_assets.cli.repair import run_sign
from recsys_assets.cli.show import run_verify
from recsys_assets.errors import ConfigurationError, UntrustedError
from recsys_assets.identity import Target
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import pointer_key, release_key, signature_prefix
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.signatures import Trust, read_signer
from recsys_assets.release.signed_stores import SigningStore, keep_signed, renew, signature_faults
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore

TARGET = Target("shop", "home")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
POINTER = pointer_key(TARGET)


class Clock:
    def __init__(self):
        self.at = NOON

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Folder with the key pairs a, b and c, as openssl writes them."""
    folder = tmp_path_factory.mktemp("keys")
    for name in "abc":
        key = Ed25519PrivateKey.generate()
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.pem").write_bytes(secret)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder


@pytest.fixture
def shop(keys, clock):
    """A store, and what ships to it signed by some keys: `ship(3, "ab")` makes item 3 the best."""

    class Shop:
        store = MemoryStore()

        def signing(self, by="a"):
            places = [f"file:{keys}/{name}.pem" for name in by]
            return SigningStore(self.store, read_signer(places, valid_days=10, now=clock))

        def ship(self, n, by="a", store=None):
            clock.at += timedelta(hours=1)
            day = DAY + timedelta(days=n)
            where = store or (self.signing(by) if by else self.store)
            publish_fixture(where, "shop", "home", {"popularity": {f"i{n}": 2}}, day=day, now=clock)

        def trust(self, of="a", threshold=1):
            return Trust.of(*(keys / f"{name}.pub" for name in of), threshold=threshold)

        def reader(self, of="a", threshold=1):
            return Reader(self.store, "shop", "home", trust=self.trust(of, threshold), now=clock)

        def pointer(self):
            return self.store.get(POINTER, max_bytes=10**6).data

        def signatures(self):
            return {item.key: self.store.get(item.key, max_bytes=10**6).data for item in self.listed()}

        def listed(self):
            return list(self.store.list(signature_prefix(TARGET)))

    return Shop()


def best(reader):
    return reader.snapshot().top_items()[0].item_id


def refused(reader):
    """Return why a look at the store brought nothing."""
    refresh = reader.refresh()
    assert (refresh.outcome, refresh.problem) == (RefreshOutcome.FAILED, Problem.BAD_POINTER)
    return refresh.why


def test_a_signed_release_is_served_and_so_is_the_next_one(shop):
    shop.ship(1)
    reader = shop.reader()
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    shop.ship(2)
    reader.refresh()
    assert best(reader) == "i2"


def test_what_moves_a_pointer_back_signs_it_too(shop, clock):
    shop.ship(1)
    shop.ship(2)
    roll_back(shop.signing(), TARGET, to="previous", by=Actor("ada", "i2 is bad"), now=clock)
    reader = shop.reader()
    reader.refresh()
    assert best(reader) == "i1"


def test_without_keys_nothing_is_signed_and_everything_is_served(shop):
    shop.ship(1, by="")
    assert shop.listed() == []
    with Reader(shop.store, "shop", "home") as reader:
        assert best(reader) == "i1"


def test_f49_an_unsigned_pointer_is_refused_and_what_serves_goes_on(shop):
    shop.ship(1)
    reader = shop.reader()
    reader.refresh()
    shop.ship(2, by="")
    assert "is not signed" in refused(reader)
    assert best(reader) == "i1"


def test_f49_a_pointer_signed_by_another_key_is_refused(shop):
    shop.ship(1, by="b")
    assert "0 of 1 signatures" in refused(shop.reader("a"))


def test_f49_a_pointer_that_was_mixed_of_two_releases_is_refused(shop):
    both = ("popularity", "cooc")
    rows = {"popularity": {"i1": 1}, "cooc": {"i1": {"i2": 3}}}
    publish_fixture(shop.signing(), "shop", "home", rows, now=lambda: NOON)
    first = msgspec.json.decode(shop.pointer())
    publish_fixture(
        shop.signing(), "shop", "home", {"popularity": {"i2": 1}, "cooc": {"i1": {"i2": 4}}}, now=lambda: NOON
    )
    mixed = msgspec.json.decode(shop.pointer())
    mixed["current"][both[1]] = first["current"][both[1]]
    shop.store.put(POINTER, msgspec.json.encode(mixed))
    assert "is not signed" in refused(shop.reader())


def test_f49_a_signature_under_the_name_of_another_pointer_is_refused(shop):
    shop.ship(1)
    (good,) = shop.signatures().values()
    shop.ship(2, by="")
    data = shop.pointer()
    with pytest.raises(UntrustedError, match=r"not signed \((\S+)") as error:
        shop.trust().prove(shop.store, TARGET, data)
    shop.store.put(str(error.value).partition("(")[2].partition(" is")[0], good)
    assert "signature of another pointer" in refused(shop.reader())


@pytest.mark.parametrize("part", ["signed", "signatures"])
def test_f49_a_changed_signature_is_refused(shop, part):
    shop.ship(1)
    ((key, data),) = shop.signatures().items()
    document = msgspec.json.decode(data)
    if part == "signed":
        document["signed"] = document["signed"].replace('"expires":"2026', '"expires":"2036')
    else:
        document["signatures"] = dict.fromkeys(document["signatures"], "00" * 64)
    shop.store.put(key, msgspec.json.encode(document))
    assert "0 of 1 signatures" in refused(shop.reader())


def test_f49_a_pointer_of_the_past_with_its_good_signature_is_refused(shop):
    shop.ship(1)
    old = shop.pointer()
    shop.ship(2)
    reader = shop.reader()
    reader.refresh()
    shop.store.put(POINTER, old)
    refresh = reader.refresh()
    assert (refresh.problem, best(reader)) == (Problem.OLDER_POINTER, "i2")


def test_f49_a_store_that_stands_still_is_noticed_when_its_signature_ends(shop, clock):
    shop.ship(1)
    reader = shop.reader()
    reader.refresh()
    clock.at += timedelta(days=9)
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    clock.at += timedelta(days=2)
    assert "expired" in refused(reader)
    assert "expired" in refused(shop.reader()), "also for one that starts now"
    renew(shop.store, shop.signing().signer, TARGET)
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED


def test_keys_change_while_both_sign_and_readers_take_either(shop):
    shop.ship(1, by="a")
    shop.ship(2, by="ab")
    for believed in ("a", "b", "ab"):
        reader = shop.reader(believed)
        reader.refresh()
        assert best(reader) == "i2"
    shop.ship(3, by="b")
    assert "0 of 1" in refused(shop.reader("a"))
    late = shop.reader("b")
    late.refresh()
    assert best(late) == "i3"


def test_a_threshold_needs_as_many_keys(shop):
    shop.ship(1, by="ac")
    assert shop.reader("ab", threshold=1).refresh().outcome is RefreshOutcome.CHANGED
    assert "1 of 2" in refused(shop.reader("ab", threshold=2))
    assert shop.reader("abc", threshold=2).refresh().outcome is RefreshOutcome.CHANGED
    with pytest.raises(ConfigurationError, match="threshold is 3 of 2"):
        shop.trust("ab", threshold=3)


def test_nobody_s_pointer_is_signed_again_unless_a_person_says_so(shop):
    shop.ship(1, by="b")
    signer = shop.signing("a").signer
    with pytest.raises(UntrustedError, match="0 of 1"):
        renew(shop.store, signer, TARGET)
    assert "0 of 1" in refused(shop.reader("a"))
    renew(shop.store, signer, TARGET, unsigned=True)
    assert shop.reader("a").refresh().outcome is RefreshOutcome.CHANGED


def test_a_signature_is_renewed_once_half_of_its_time_is_over(shop, clock):
    shop.ship(1)
    before = shop.signatures()
    clock.at += timedelta(days=4)
    keep_signed(shop.signing(), TARGET)
    assert shop.signatures() == before
    clock.at += timedelta(days=2)
    keep_signed(shop.signing(), TARGET)
    assert shop.signatures().keys() == before.keys()
    assert shop.signatures() != before
    keep_signed(shop.store, TARGET)


def test_signatures_that_ended_are_removed_when_the_pointer_moves(shop, clock):
    shop.ship(1)
    shop.ship(2)
    assert len(shop.listed()) == 2
    clock.at += timedelta(days=30)
    shop.ship(3)
    assert len(shop.listed()) == 1


def test_a_release_record_that_was_changed_is_named_by_verify(shop, clock):
    shop.ship(1)
    assert signature_faults(shop.store, TARGET, shop.trust(), now=clock()) == ()
    (record,) = [item.key for item in shop.store.list("releases/")]
    shop.store.put(record, shop.store.get(record, max_bytes=10**6).data.replace(b"fixture", b"fixtvre"))
    (fault,) = signature_faults(shop.store, TARGET, shop.trust(), now=clock())
    assert fault.startswith(f"{release_key(TARGET, record.rpartition('/')[2][:-5])} is not the signed record")


def test_what_no_signature_proves_is_not_served_to_those_who_demand_one(shop):
    with pytest.raises(ConfigurationError, match="fall_back"):
        Reader(shop.store, "shop", "home", trust=shop.trust(), fall_back=True)
    with pytest.raises(ConfigurationError, match="earlier releases"):
        shop.reader().at(NOON)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('key = "MC4CAQAwBQYDK2VwBCIEIA"', "the key itself must not be written here"),
        ('key = "env:NO_SUCH_KEY"', "NO_SUCH_KEY is not set"),
        ('key = "file:none.pem"', r"cannot read .*none\.pem"),
        ('key = "file:text.pem"', "is not a private key in PEM"),
        ('key = "file:other.pem"', "is not an ed25519 key"),
    ],
)
def test_a_key_that_cannot_sign_is_named_by_its_place_alone(tmp_path, text, message):
    (tmp_path / "text.pem").write_text("opensesame")
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other.pem").write_bytes(other)
    with pytest.raises(ConfigurationError, match=message) as error:
        open_configured_store(_settings(text, tmp_path))
    assert "opensesame" not in str(error.value)
    assert "MC4C" not in str(error.value)


def _settings(text, folder):
    rest = '[storage]\nroot = "store"\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    (folder / "recsys.toml").write_text(f"{rest}[signing]\n{text}\n")
    return parse_settings((folder / "recsys.toml").read_bytes(), name="recsys.toml", base=folder)


def test_commands_sign_what_is_live_and_say_what_is_not_signed(keys, tmp_path, monkeypatch):
    settings = _settings('key = "env:TEST_SIGNING_KEY"', tmp_path)
    monkeypatch.setenv("TEST_SIGNING_KEY", (keys / "a.pem").read_text())
    publish_fixture(FilesystemStore(tmp_path / "store"), "shop", "home", {"popularity": {"i1": 1}})

    def call(command, *options):
        named = ["--config", str(tmp_path / "recsys.toml")]
        return CliRunner().invoke(command, [*named, *options], standalone_mode=False)

    assert call(run_verify).return_value == 0
    assert "is not signed" in call(run_verify, "--signatures").output
    assert isinstance(call(run_sign).exception, UntrustedError)
    assert call(run_sign, "--unsigned").return_value == 0
    assert call(run_verify, "--signatures").return_value == 0
    assert "0 of 1" in call(run_verify, "--key", str(keys / "b.pub")).output
    publish_fixture(open_configured_store(settings), "shop", "home", {"popularity": {"i2": 1}}, day=DAY)
    assert call(run_verify, "--key", str(keys / "a.pub")).return_value == 0
