"""The shipped alert rules and dashboard: every expression is PromQL, over exported metrics and labels."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml

from recsys_assets.api.metrics import HELP as API_HELP
from recsys_assets.observability.build_metrics import BUILD_HELP
from recsys_assets.serving.prometheus import ReaderCollector

READER = {f"{family.name}{end}" for family in ReaderCollector().collect() for end in ("_total", "_bucket")}
ROOT = Path(__file__).parents[1]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yaml").read_text())["groups"][0]["rules"]
RULE_TEST_FILES = sorted(path.name for path in (ROOT / "deploy").glob("prometheus-rules*.test.yaml"))
RULE_TESTS = [
    case for name in RULE_TEST_FILES for case in yaml.safe_load((ROOT / "deploy" / name).read_text())["tests"]
]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SELECTOR = re.compile(r"(recsys_\w+)(?:\{([^}]*)\})?")
OWN_LABELS = {
    "recsys_target_questions": {"kind", "release"},
    "recsys_target_questions_without_items": {"kind", "release"},
    "recsys_target_short_answers": {"kind", "release"},
    "recsys_target_refresh_failures": {"problem"},
    "recsys_build_artifact_rows": {"kind"},
    "recsys_build_artifact_bytes": {"kind"},
    "recsys_build_gates": {"subject", "verdict"},
    "recsys_build_last_attempt": {"outcome"},
    "recsys_reader_refresh_failures_total": {"process", "problem"},
    "recsys_reader_lookup_seconds_bucket": {"process", "release", "kind", "le"},
}


def labels_of(metric):
    return {"tenant", "surface"} | OWN_LABELS.get(metric, set())


@pytest.mark.parametrize("expression", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_an_expression_is_promql_over_what_is_exported(expression):
    promql_parser.parse(expression)
    found = SELECTOR.findall(expression)
    assert found
    for metric, matchers in found:
        assert metric in {*BUILD_HELP, *API_HELP, *READER}
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= labels_of(metric)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: package prometheus) is not installed")
def test_the_alerts_begin_and_end_when_they_should():
    for task, names in (("check", ["prometheus-rules.yaml"]), ("test", RULE_TEST_FILES)):
        done = subprocess.run(
            ["promtool", task, "rules", *names], cwd=ROOT / "deploy", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_time_at_which_it_is_to_fire():
    cases = [case for test in RULE_TESTS for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_whom_it_concerns_how_urgent_it_is_and_what_to_do(rule):
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert (ROOT / rule["annotations"]["runbook"]).exists()
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    metric = SELECTOR.search(rule["expr"])[1]
    assert named <= labels_of(metric)


def test_every_metric_is_looked_at_by_a_rule_or_a_panel():
    used = {
        metric
        for expression in [*(rule["expr"] for rule in RULES), *QUERIES]
        for metric, _ in SELECTOR.findall(expression)
    }
    for_people = {f"recsys_build_{what}_timestamp_seconds" for what in ("last_attempt", "last_test", "run")}
    assert set(BUILD_HELP) - used == for_people


def test_the_panels_do_not_lie_on_one_another():
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
