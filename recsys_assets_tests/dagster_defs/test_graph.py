"""The graph over real files and a real store: what ships, what does not, and what people see of it."""

import shutil
from datetime import UTC, datetime

import dagster as dg
import pytest
from msgspec import UNSET

from recsys_assets.cli.recorded_run import read_result
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.errors import ConfigurationError, RefusedError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.releases import read_release
from recsys_assets_tests.release.staging import change_canonical, change_staged
from recsys_assets_tests.small_shop import CART, FIRST, HOME, TARGETS, after, day_lines, open_shop

KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")
POPULARITY, COOC = (f"[artifacts]\nkinds = ['{kind}']\n" for kind in ("popularity", "cooc"))
ONE_TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield open_shop(tmp_path, instance)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A shop and the result of its first day, built with every kind of every target: tests read them."""
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path_factory.mktemp("built"), instance)
        opened.write(FIRST, day_lines(FIRST))
        yield opened, opened.build(FIRST)


@pytest.fixture(scope="module")
def ungated(tmp_path_factory):
    """A shop of one target whose first day is live, and was built again of another file without being shipped."""
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path_factory.mktemp("ungated"), instance)
        opened.configure(targets=ONE_TARGET)
        opened.write(FIRST, day_lines(FIRST))
        assert opened.run(FIRST).success
        opened.write(FIRST, day_lines(FIRST, shift=1))
        selection = [key("raw"), *(key("shop", "home", name) for name in ("canonical", *KINDS))]
        assert opened.build(FIRST, selection=selection).success
        store = opened.folder / "store"
        yield opened, shutil.copytree(store, opened.folder / "store-as-built")


def key(*parts):
    return dg.AssetKey(parts)


def materialized(result):
    return {event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization}


def metadata_of(result, asset):
    events = [e for e in result.all_events if e.is_step_materialization and e.asset_key == asset]
    return {name: value.value for name, value in events[-1].step_materialization_data.materialization.metadata.items()}


def failure_of(result, step):
    events = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE" and e.step_key == step]
    data = events[-1].step_failure_data
    return data.user_failure_data.description if data.user_failure_data else data.error.message


def skipped_because(result, asset):
    events = [e for e in result.all_events if e.event_type_value == "ASSET_OBSERVATION" and e.asset_key == asset]
    observation = events[-1].asset_observation_data.asset_observation
    return observation.metadata["outcome"].value


def test_a_day_is_built_gated_and_shipped_for_every_target(built):
    shop, result = built
    assert result.success
    assert set(shop.live(HOME).versions) == set(shop.live(CART).versions) == set(KINDS)
    assert len(materialized(result)) == 1 + 2 * (1 + len(KINDS) + 1)


def test_what_people_see_of_an_artifact_is_its_version_window_rows_and_first_rows(built):
    shop, result = built
    seen = metadata_of(result, key("shop", "home", "popularity"))
    assert seen["version"] == shop.live().versions["popularity"]
    assert seen["rows"] == 4
    assert seen["window"] == "2026-01-01 to 2026-01-01"
    assert "| i1 | 6 |" in seen["top rows"]
    assert seen["bytes"] > 0
    assert seen["seconds"] > 0
    record = shop.instance.get_latest_data_version_record(key("shop", "home", "popularity"))
    tags = record.asset_materialization.tags
    assert tags["dagster/data_version"] == seen["version"]


def test_f27_a_day_without_a_file_is_skipped_and_says_so(shop):
    shop.write(FIRST, day_lines(FIRST))
    shop.run(FIRST)
    before = shop.live()
    result = shop.build(after(1))
    assert result.success
    assert materialized(result) == set()
    assert skipped_because(result, key("raw")) == "no_input"
    assert shop.live() == before


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        pytest.param([], "empty_input", id="empty file"),
        pytest.param(day_lines(FIRST, targets=[CART]), "no_events", id="only the other target's events"),
    ],
)
def test_f27_a_target_without_events_is_skipped_by_name_and_the_other_ships(shop, lines, outcome):
    shop.configure(POPULARITY)
    shop.write(FIRST, lines)
    result = shop.build(FIRST)
    assert result.success
    assert skipped_because(result, key("shop", "home", "canonical")) == outcome
    assert shop.live(HOME) is None
    assert (shop.live(CART) is not None) == bool(lines)


def test_f28_too_many_bad_lines_stop_the_targets_concerned(shop):
    bad = [line.replace('"v": 1', '"v": 9') for line in day_lines(FIRST, targets=[HOME])]
    shop.configure(POPULARITY)
    shop.write(FIRST, day_lines(FIRST) + bad)
    result = shop.build(FIRST)
    assert not result.success
    assert shop.live(HOME) is None
    assert shop.live(CART) is not None
    seen = [e.asset_check_evaluation_data for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    refused = [e for e in seen if not e.passed]
    assert [e.asset_key for e in refused] == [key("shop", "home", "canonical")]
    assert "18 unknown_version" in refused[0].description
    gates = {record.data["gate"]: record.data["verdict"] for record in refused[0].metadata["gates"].records}
    assert {"contract", "volume", "bad_share", "out_of_window_share", "duplicate_share"} <= gates.keys()
    assert [gate for gate, verdict in gates.items() if verdict != "passed"] == ["bad_share"]


def test_a_day_that_drifts_too_far_from_live_is_refused_where_the_target_requires_it(shop):
    cart_lax = "[targets.gates.drift]\nmode = 'advisory'\n"
    drift = "[gates.drift]\nmode = 'required'\nmax_rows_factor = 1.5\n"
    shop.configure(POPULARITY + drift, targets=TARGETS + cart_lax)
    shop.write(FIRST, day_lines(FIRST))
    assert shop.run(FIRST).success
    before = {target: shop.live(target).release_id for target in (HOME, CART)}
    shop.write(after(1), [line for line in day_lines(after(1)) if '"i0"' in line or '"i1"' in line])
    result = shop.build(after(1))
    assert shop.live(HOME).release_id == before[HOME]
    assert shop.live(CART).release_id != before[CART]
    seen = [e.asset_check_evaluation_data for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]
    (popularity,) = [e for e in seen if e.asset_key == key("shop", "home", "popularity")]
    assert before[HOME][:12] in popularity.description
    assert popularity.metadata["gate/drift_rows"].value == 2
    (advised,) = [e for e in seen if e.asset_key == key("shop", "cart", "popularity")]
    assert (advised.passed, advised.severity) == (False, dg.AssetCheckSeverity.WARN), "what is advised is a warning"
    assert "drift_rows" in advised.description
    first = advised.metadata["gates"].records[0].data
    assert (first["gate"], first["verdict"]) == ("drift_rows", "advised"), "what is worth a look stands first"
    member = next(
        m for m in read_release(shop.store, CART, shop.live(CART).release_id).members if m.ref.kind == "popularity"
    )
    assert {f.params["live_release"] for f in member.gates.findings if f.gate.startswith("drift_")} == {before[CART]}


def test_a_refusal_of_a_drift_gate_is_overridden_by_name_and_the_record_and_the_journal_say_why(shop):
    shop.configure(
        "[gates.drift]\nrequired = ['drift_rows', 'drift_items']\nmax_rows_factor = 1.5\nmax_items_factor = 1.5\n",
        targets=ONE_TARGET,
    )
    shop.write(FIRST, day_lines(FIRST))
    assert shop.run(FIRST).success
    shop.write(after(1), [line for line in day_lines(after(1)) if '"i0"' in line or '"i1"' in line])
    assert not shop.run(after(1)).success
    row, by = shop.settings.find("shop", "home"), Actor("ada", "the sale has ended")

    def ship(*gates):
        return ship_day(
            DayContext(shop.store, shop.settings, row, after(1), now=lambda: datetime.now(UTC)), by=by, override=gates
        )

    with pytest.raises(ConfigurationError, match="contract cannot be overridden"):
        ship("contract")
    with pytest.raises(RefusedError, match="drift_items"):
        ship("drift_rows")
    release = ship("drift_rows", "drift_items").outcome.release
    assert shop.live().release_id == release.id
    answered = [f for member in release.members for f in member.gates.findings if "overridden" in f.params]
    assert {f.gate for f in answered} == {"drift_rows", "drift_items"}
    assert all("the sale has ended" in f.message for f in answered)
    entry = next(newest_first(shop.store, HOME))
    assert "popularity: drift_rows" in str(entry.details["overridden"])
    assert (entry.actor, entry.reason) == ("ada", "the sale has ended")


def test_a_candidate_that_fails_its_rehearsal_shows_as_a_check_and_ships_nothing(shop):
    shop.write(FIRST, day_lines(FIRST))
    shop.configure(f"{COOC}[gates.rehearsal]\nmode = 'required'\nmax_held_bytes = 10\n")
    result = shop.build(FIRST)
    assert not result.success
    assert (shop.live(HOME), shop.live(CART)) == (None, None)
    checks = {e.asset_key: e for e in evaluations(result) if e.check_name == "rehearsal"}
    message = checks[key("shop", "home", "manifest")]
    assert (message.passed, "max_held_bytes" in message.description) == (False, True)
    assert message.metadata["asked/cooc"].value > 0


def test_a_candidate_is_rehearsed_before_it_ships_and_its_report_stands_on_the_manifest(built):
    shop, result = built
    message = [
        (e.event_type_value, e.step_materialization_data.materialization.metadata if e.asset_key else {})
        for e in result.all_events
        if e.step_key == "shop__home__manifest"
        and e.event_type_value in {"ASSET_CHECK_EVALUATION", "ASSET_MATERIALIZATION"}
    ]
    assert [kind for kind, _ in message] == ["ASSET_CHECK_EVALUATION", "ASSET_MATERIALIZATION"]
    report = message[1][1]["report"].value
    assert report.startswith(f"# Release {shop.live(HOME).release_id[:12]} of shop/home")
    assert "## Rehearsal" in report


def test_a_candidate_is_scored_beside_live_before_it_ships_and_what_was_found_is_shown_and_kept(shop):
    backtest = "[gates.backtest]\nmode = 'required'\nmin_samples = 3\nheld_out_share = 0.9\n"
    shop.configure(COOC + backtest, targets=ONE_TARGET)
    for n in range(2):
        shop.write(after(n), day_lines(after(n), shift=n))
    assert shop.run(FIRST).success
    result = shop.build(after(1))
    assert result.success
    checks = {e.asset_key: e for e in evaluations(result) if e.check_name == "backtest"}
    message = checks[key("shop", "home", "manifest")]
    assert message.passed or message.severity is dg.AssetCheckSeverity.WARN
    assert message.metadata["gate/backtest_cooc"].value is not None
    release = read_release(shop.store, HOME, shop.live(HOME).release_id)
    kept = next(report for report in release.gates if report.subject == "backtest")
    assert kept.version == release.id
    assert "held_out" in kept.facts
    assert "## Backtest" in markdown_of(result, "shop__home__manifest")
    unsure = {line.asset: line.message for line in read_result(result, after(1)) if line.state == "unsure"}
    assert "undecided: inconclusive against the live release: nDCG@" in unsure["shop/home/manifest backtest"], (
        "what a required gate could not decide is not silent"
    )


def markdown_of(result, step):
    (message,) = [e for e in result.all_events if e.step_key == step and e.event_type_value == "ASSET_MATERIALIZATION"]
    return message.step_materialization_data.materialization.metadata["report"].value


def evaluations(result):
    return [e.asset_check_evaluation_data for e in result.all_events if e.event_type_value == "ASSET_CHECK_EVALUATION"]


def test_f32_the_manifest_alone_refuses_after_a_refused_gate_and_names_it(shop):
    shop.write(FIRST, day_lines(FIRST))
    shop.configure(f"{POPULARITY}[gates]\nmin_events = 1000\n", targets=ONE_TARGET)
    assert not shop.build(FIRST).success
    result = shop.build(FIRST, selection=[key("shop", "home", name) for name in ("popularity", "manifest")])
    assert not result.success
    assert shop.live() is None
    assert "gate volume" in failure_of(result, "shop__home__manifest")
    entry = next(newest_first(shop.store, HOME))
    assert entry.outcome == "refused"
    assert "volume" in str(entry.details["message"])


@pytest.mark.parametrize("subject", ["canonical", *KINDS])
def test_f32_the_manifest_refuses_when_a_gate_did_not_run(ungated, subject):
    shop, as_built = ungated
    shutil.rmtree(shop.folder / "store")
    shutil.copytree(as_built, shop.folder / "store")
    before = shop.live()
    if subject == "canonical":
        change_canonical(shop.store, HOME, FIRST, gates=UNSET)
    else:
        change_staged(shop.store, HOME, FIRST, subject, gates=UNSET)
    result = shop.build(FIRST, selection=[key("shop", "home", "manifest")])
    assert not result.success
    assert subject in failure_of(result, "shop__home__manifest")
    assert shop.live() == before


def test_f32_gates_that_judged_by_other_limits_prove_nothing(shop):
    shop.configure(POPULARITY, targets=ONE_TARGET)
    shop.write(FIRST, day_lines(FIRST))
    shop.build(FIRST, selection=[key("raw"), *(key("shop", "home", name) for name in ("canonical", "popularity"))])
    shop.configure(f"{POPULARITY}[artifacts.popularity]\nmax_items = 2\n", targets=ONE_TARGET)
    result = shop.build(FIRST, selection=[key("shop", "home", "manifest")])
    assert not result.success
    assert "popularity" in failure_of(result, "shop__home__manifest")
    assert shop.live() is None


def test_a_rerun_with_the_same_content_changes_nothing(shop):
    shop.configure(COOC, targets=ONE_TARGET)
    shop.write(FIRST, day_lines(FIRST))
    shop.build(FIRST)
    before = shop.live()
    result = shop.build(FIRST)
    assert result.success
    assert shop.live() == before
    assert metadata_of(result, key("shop", "home", "manifest"))["outcome"] == "unchanged"
    assert metadata_of(result, key("raw"))["reused"] is True
    assert metadata_of(result, key("shop", "home", "cooc"))["reused"] is True


def test_an_older_day_is_recorded_and_does_not_move_the_pointer(shop):
    shop.configure(POPULARITY, targets=ONE_TARGET)
    for day in (after(1), FIRST):
        shop.write(day, day_lines(day))
    shop.run(after(1))
    before = shop.live()
    result = shop.build(FIRST)
    assert result.success
    assert shop.live() == before
    assert metadata_of(result, key("shop", "home", "manifest"))["outcome"] == "older"


def test_f26_a_changed_file_of_the_live_day_ships_again(shop):
    shop.configure(POPULARITY, targets=ONE_TARGET)
    shop.write(FIRST, day_lines(FIRST))
    shop.build(FIRST)
    before = shop.live()
    shop.write(FIRST, day_lines(FIRST, shift=1), name="-late")
    assert shop.build(FIRST).success
    assert shop.live().release_id != before.release_id


def test_f29_artifacts_of_a_day_that_was_rebuilt_since_do_not_ship(shop):
    shop.configure(POPULARITY, targets=ONE_TARGET)
    shop.write(FIRST, day_lines(FIRST))
    shop.build(FIRST)
    before = shop.live()
    shop.write(FIRST, day_lines(FIRST, shift=1), name="-late")
    shop.build(FIRST, selection=[key("raw"), key("shop", "home", "canonical")])
    result = shop.build(FIRST, selection=[key("shop", "home", "manifest")])
    assert not result.success
    assert "rebuilt" in failure_of(result, "shop__home__manifest")
    assert shop.live() == before


def test_a_window_of_days_counts_all_of_them_and_names_the_missing(shop):
    shop.configure(f"{POPULARITY}[artifacts.popularity]\nwindow_days = 3\nmin_days = 2\n", targets=ONE_TARGET)
    for day in (FIRST, after(2)):
        shop.write(day, day_lines(day))
        result = shop.build(day)
    assert result.success
    seen = metadata_of(result, key("shop", "home", "popularity"))
    assert (seen["days"], seen["missing_days"]) == (2, "2026-01-02")
    assert seen["events"] == 36


@pytest.mark.parametrize(
    ("min_events", "ships"),
    [
        pytest.param(2, True, id="looser"),
        pytest.param(18, True, id="just met"),
        pytest.param(19, False, id="too strict"),
    ],
)
def test_f48_changed_limits_judge_the_earlier_days_of_a_window_again(shop, min_events, ships):
    window = f"{POPULARITY}[artifacts.popularity]\nwindow_days = 3\n"
    shop.configure(window, targets=ONE_TARGET)
    for n in range(2):
        shop.write(after(n), day_lines(after(n), shift=n))
        shop.run(after(n))
    before = shop.live()
    shop.configure(f"{window}[gates]\nmin_events = {min_events}\n", targets=ONE_TARGET)
    shop.write(after(2), day_lines(after(2), shift=2) + day_lines(after(2), shift=3))

    result = shop.build(after(2))

    assert result.success is ships
    assert (shop.live() != before) is ships
    if not ships:
        assert "canonical 2026-01-01: gate volume refused" in failure_of(result, "shop__home__manifest")


def test_f27_too_few_days_in_a_window_are_refused(shop):
    shop.configure(f"{POPULARITY}[artifacts.popularity]\nwindow_days = 3\nmin_days = 2\n", targets=ONE_TARGET)
    shop.write(FIRST, day_lines(FIRST))
    result = shop.build(FIRST)
    assert not result.success
    assert shop.live() is None


def test_a_target_that_dagster_cannot_carry_by_name_goes_by_its_slug(shop):
    shop.configure(targets='[[targets]]\ntenant = "été & co"\nsurface = "home"\nslug = "ete"\n')
    graph = build_definitions(shop.settings).resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert keys == {"raw", *(f"ete/{name}" for name in ("canonical", *KINDS, "manifest"))}


def test_a_target_may_have_owners_of_its_own(shop):
    rows = '[[targets]]\ntenant = "shop"\nsurface = "home"\nowners = ["team:home"]\n'
    shop.configure(targets=rows + '[[targets]]\ntenant = "shop"\nsurface = "cart"\n')
    graph = build_definitions(shop.settings).resolve_asset_graph()
    owners = {surface: graph.get(dg.AssetKey(["shop", surface, "manifest"])).owners for surface in ("home", "cart")}
    assert owners == {"home": ["team:home"], "cart": ["team:recommendations"]}


def test_every_asset_says_what_it_is_and_who_is_asked(shop):
    graph = build_definitions(shop.settings).resolve_asset_graph()
    for asset in graph.materializable_asset_keys:
        node = graph.get(asset)
        assert node.description
        assert node.owners
        assert node.kinds
        assert node.group_name in {"raw", "shop/home", "shop/cart"}
        assert node.backfill_policy is None
