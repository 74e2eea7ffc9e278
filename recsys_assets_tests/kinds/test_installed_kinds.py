"""A kind that another package adds is one like ours; a package whose kind cannot be had is named, never passed over."""

import sys
from textwrap import dedent

import pytest

from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.registry import KINDS, find_kind, installed_kinds
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import events_of, row

GOOD = """
    from recsys_assets.kinds.kind import Kind
    from recsys_assets.kinds.popularity import SHAPE, PopularityParams, build_popularity

    class ShortParams(PopularityParams):
        max_items: int = 1

    KIND = Kind(
        name="trending",
        description="The most seen item alone.",
        params=ShortParams,
        shape=SHAPE,
        event_columns=("item_id",),
        kernel=build_popularity,
    )
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package where Python finds it, as an installer does: its module, and its metadata beside it."""

    def put(text, entry="trending = acme_kinds:KIND"):
        (tmp_path / "acme_kinds.py").write_text(dedent(text))
        metadata = tmp_path / "acme_recsys-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-recsys\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[recsys_assets.kinds]\n{entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        installed_kinds.cache_clear()

    yield put
    installed_kinds.cache_clear()
    sys.modules.pop("acme_kinds", None)


def test_a_kind_of_another_package_is_in_the_table_behind_ours_and_builds(install):
    ours = list(KINDS)
    install(GOOD)
    assert list(KINDS) == [*ours, "trending"]
    kind = find_kind("trending")
    events = events_of([row(n, None, "s", item) for n, item in enumerate("abb")])
    assert kind.build(events, kind.params(), LimitSettings()).rows.frame().rows() == [("b", 2)]


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        pytest.param(
            "import nowhere_at_all", "trending = acme_kinds:KIND", "fails to load with ModuleNotFound", id="import"
        ),
        pytest.param("1 / 0", "trending = acme_kinds:KIND", "ZeroDivisionError: division by zero", id="raises"),
        pytest.param("", "trending = acme_kinds:KIND", "fails to load with AttributeError", id="nothing there"),
        pytest.param("KIND = 3", "trending = acme_kinds:KIND", "leads to 3, not to a recsys_assets", id="no kind"),
        pytest.param(GOOD, "rising = acme_kinds:KIND", "its kind is called 'trending'", id="another name"),
        pytest.param(
            GOOD.replace("trending", "cooc"), "cooc = acme_kinds:KIND", "a kind of this name already", id="one of ours"
        ),
    ],
)
def test_a_broken_package_is_named_even_where_only_our_kinds_are_asked_for(install, text, entry, message):
    install(text, entry)
    with pytest.raises(ConfigurationError, match=message) as raised:
        find_kind("popularity")
    assert "the package acme-recsys 1.2 adds the kind" in str(raised.value)
    assert "uninstall it" in str(raised.value)
