"""Prometheus's configuration: it reads what the service exports, and every rule and alert has a test and a text.

promtool tests what the rules compute, with the files in docker/prometheus/tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.docker.dockerfile import ROOT
from tests.docker.prometheus_rules import (
    INCREMENT,
    INCREMENTS_FILE,
    PROMETHEUS,
    RULE_FILES,
    SUMMED,
    WINDOW,
    read_rules,
    render_rules,
)
from tests.docker.promtool import promtool
from tests.service.served import answer, manifest_of
from uq4ct.service.telemetry.metrics import Metrics

RULES = read_rules()
RECORDED = [rule["record"] for rule in RULES if "record" in rule]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOK = ROOT / "service/runbook/RUNBOOK.md"
README = (ROOT / "service" / "README.md").read_text(encoding="utf-8")

every_alert = pytest.mark.parametrize("name", ALERTS)


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _cases() -> list[dict[str, Any]]:
    return [case for path in UNIT_TESTS for case in _read(path)["tests"]]


def _metrics() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    metrics.announce_model(manifest_of())
    metrics.count_prediction(answer(0.4))
    metrics.show_sequential("toy", 3, "error_rate", 0.0, False)
    metrics.requests.labels("/predict", "200").inc()
    metrics.request_seconds.labels("/predict").observe(0.1)
    return metrics


def _exported() -> dict[str, set[str]]:
    """Every series name of the service, and its labels."""
    exported: dict[str, set[str]] = {}
    for family in _metrics().registry.collect():
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    return exported


def _metrics_in(expression: str) -> set[str]:
    """The metrics in an expression that the service exports, without the series that rules record."""
    return set(re.findall(r"(?<![\w:])uq4ct_\w+(?!\w*:)", expression))


@pytest.mark.parametrize("rule", RULES, ids=[rule.get("record") or rule["alert"] for rule in RULES])
def test_a_rule_reads_only_what_the_service_exports_or_a_rule_records(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    recorded = set(re.findall(r"\b[a-z_]+:\w+:\w+", expression))
    assert recorded <= set(RECORDED)
    exported = _exported()
    assert _metrics_in(expression) <= set(exported)
    assert recorded | _metrics_in(expression)
    for name, label in re.findall(r"(uq4ct_\w+)\{(\w+)=", expression):
        assert label in exported[name]


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_the_series_of_unit_tests_are_those_that_the_service_exports(path: Path) -> None:
    """Ignores the labels that Prometheus adds, because a test may leave them out."""
    exported = _exported()
    series = [one["series"] for case in _read(path)["tests"] for one in case["input_series"]]
    assert series
    for one in series:
        name, _, labels = one.partition("{")
        if name != "up":
            assert set(re.findall(r"(\w+)=", labels)) - {"instance", "job"} == exported[name], one


def test_gauges_that_every_replica_shows_are_never_added_up() -> None:
    found = 0
    for rule in RULES:
        for gauge in re.finditer(r"\buq4ct_(?:reference|sequential)_\w+", rule["expr"]):
            before = rule["expr"][: gauge.start()]
            assert re.findall(r"\b(sum|max|min|avg|count) by ", before)[-1:] == ["max"], gauge[0]
            found += 1
    assert found > 10


def _windows_in(path: Path) -> set[str]:
    """Every range and offset in a file of rules."""
    return {window or offset for window, offset in re.findall(r"\[(\w+)\]|\boffset (\w+)", path.read_text())}


def test_every_rule_uses_the_same_window() -> None:
    """Except the alerts on rejected questions and reloads, which are about the replica now and not about labels."""
    of_now = re.findall(
        r"uq4ct_(?:rejected|adapter_reloads)_total\S*\[(\w+)\]", "".join(rule["expr"] for rule in RULES)
    )
    assert {path.name: _windows_in(path) for path in RULE_FILES} == {
        "alerts.yml": {WINDOW, *of_now},
        "increments.yml": {WINDOW, INCREMENT, "1s"},
        "recording.yml": {SUMMED},
    }
    assert {name[-len(INCREMENT) :] for name in RECORDED if not name.endswith(WINDOW)} == {INCREMENT}


def test_increments_are_recorded_as_often_as_they_are_long() -> None:
    (group,) = _read(INCREMENTS_FILE)["groups"]
    assert group["interval"] == INCREMENT
    names = [rule["record"] for rule in group["rules"]]
    last, increments = names[::2], names[1::2]
    assert all(name.endswith(f":last{INCREMENT}") for name in last)
    assert all(name.endswith(f":increase{INCREMENT}") for name in increments)


def test_no_rule_or_panel_reads_a_day_of_raw_samples() -> None:
    """Except those of the ledger's one series on each replica."""
    asked = [rule["expr"] for rule in RULES] + [
        target["expr"]
        for path in (ROOT / "docker/grafana/dashboards").glob("*.json")
        for panel in _read(path)["panels"]
        for target in panel.get("targets", [])
    ]
    raw = {
        name
        for one in asked
        for name, window in re.findall(r"(?<![\w:])(uq4ct_\w+)(?:\{[^}]*\})?\[([^]]+)\]", one)
        if window not in {INCREMENT, "$__rate_interval"}
    }
    assert raw == {"uq4ct_ledger_unlogged_total"}


def test_a_series_is_recorded_once_under_its_level() -> None:
    assert len(RECORDED) == len(set(RECORDED))
    for rule in RULES:
        if "record" in rule:
            level = rule["record"].partition(":")[0]
            every_label = level == "replica" and not re.search(r"\b(?:by|without)\b", rule["expr"])
            assert every_label or f"by ({', '.join(level.split('_'))})" in rule["expr"] or f"{level}:" in rule["expr"]


def test_rules_over_another_window_record_the_same_names(tmp_path: Path) -> None:
    rendered = [path.read_text(encoding="utf-8") for path in render_rules(tmp_path, "5m")]
    assert len(rendered) == len(RULE_FILES)
    for path, text in zip(RULE_FILES, rendered, strict=True):
        assert "[5m]" in text
        assert f"[{WINDOW}]" not in text
        assert f"offset {WINDOW}" not in text
        names = re.compile(r"- (?:record|alert): (\S+)")
        assert names.findall(text) == names.findall(path.read_text(encoding="utf-8"))


def test_prometheus_reads_every_rule_file_and_knows_where_alerts_go() -> None:
    config = _read(PROMETHEUS / "prometheus.yml")
    found = {path for pattern in config["rule_files"] for path in PROMETHEUS.glob(pattern)}
    assert found == set(RULE_FILES)
    assert [path.name for path in RULE_FILES] == ["alerts.yml", "increments.yml", "recording.yml"]
    (manager,) = config["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]


def test_alerts_are_grouped_by_model_and_every_receiver_is_there() -> None:
    config = _read(PROMETHEUS / "alertmanager.yml")
    route = config["route"]
    receivers = {receiver["name"] for receiver in config["receivers"]}
    assert route["group_by"] == ["model"]
    assert {route["receiver"], *(branch["receiver"] for branch in route["routes"])} == receivers
    matched = re.findall(r'severity = "(\w+)"', str(route["routes"]))
    assert set(matched) == {"page"}
    assert {rule["labels"]["severity"] for rule in ALERTS.values()} == {"page", "ticket"}


@every_alert
def test_an_alert_says_what_it_is_and_has_its_section_in_the_runbook(name: str) -> None:
    rule = ALERTS[name]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert set(rule["labels"]) == {"severity"}
    anchor = rule["annotations"]["runbook_url"].partition("#")[2]
    sections = RUNBOOK.read_text(encoding="utf-8").split("\n## ")[1:]
    (section,) = [one for one in sections if one.partition("\n")[0].lower() == anchor]
    assert section.startswith(f"{name}\n")
    assert len(section.split()) > 20


def test_the_label_for_links_is_not_one_of_the_alerts() -> None:
    config = _read(PROMETHEUS / "prometheus.yml")
    dropped = [one["regex"] for one in config["alerting"]["alert_relabel_configs"] if one["action"] == "labeldrop"]
    assert dropped == list(config["global"]["external_labels"])


def test_the_runbook_has_no_section_without_an_alert() -> None:
    sections = re.findall(r"^## (.*)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(sections) == set(ALERTS)


@every_alert
def test_an_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    checks = [check for case in _cases() for check in case.get("alert_rule_test", []) if check["alertname"] == name]
    assert {bool(check["exp_alerts"]) for check in checks} == {True, False}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_series_has_a_unit_test_with_a_value(name: str) -> None:
    checks = [check for case in _cases() for check in case.get("promql_expr_test", [])]
    values = [
        one["value"] for check in checks if re.search(rf"\b{name}\b", check["expr"]) for one in check["exp_samples"]
    ]
    assert any(values)


def test_the_table_of_metrics_is_what_the_service_exports() -> None:
    rows = re.findall(r"^\| `(uq4ct_\w+)` \| (.*?) \| (.*?) \|$", README, flags=re.MULTILINE)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels, _ in rows}
    assert len(documented) == len(rows)
    exported = {}
    for family in _metrics().registry.collect():
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        exported[f"{family.name}{suffix}"] = labels
    assert documented == exported


def test_the_readme_says_how_many_series_a_version_has() -> None:
    found = re.search(r"has (\d+) series for each task, (\d+) more", Metrics.__doc__ or "")
    assert found is not None
    assert f"has {found[1]} series for each task and {found[2]} beside them" in " ".join(README.split())


@pytest.mark.slow
def test_promtool_accepts_the_configuration() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.slow
def test_promtool_accepts_rules_over_another_window(tmp_path: Path) -> None:
    promtool("check", "rules", *RULE_FILES)
    promtool("check", "rules", *render_rules(tmp_path, "5m"))


@pytest.mark.slow
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.name)
def test_rules_give_what_their_unit_tests_expect(path: Path) -> None:
    promtool("test", "rules", path)
