from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from tests.docker.dockerfile import ROOT
from tests.docker.grafana import (
    DASHBOARDS,
    dashboards,
    metrics_of_variables,
    panel_expressions,
    promotions,
    queried_variables,
    read_dashboards,
    substitute,
)
from tests.docker.promql import names_in
from uq4ct.service.runbook.rendering import read_runbook
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

PROVISIONING = ROOT / "docker/grafana/provisioning"
RULES = ROOT / "docker/prometheus/rules"
VARIABLES = {"model": "toy", "version": "1", "task": ".*"}
# The panel types and units used here; Grafana 12 has them without plugins.
PANEL_TYPES = {"text", "stat", "table", "timeseries", "barchart", "xychart"}
UNITS = {"short", "percentunit", "s", "reqps", "bytes"}
KEYS = (
    "id", "type", "title", "description", "links", "datasource", "gridPos", "pluginVersion", "targets",
    "transformations", "options", "fieldConfig",
)  # fmt: skip
SAMPLES = {
    "counter": ("_total",),
    "gauge": ("",),
    "info": ("_info",),
    "summary": ("_sum", "_count"),
    "histogram": ("_bucket", "_sum", "_count"),
}

every_dashboard = pytest.mark.parametrize("dashboard", read_dashboards(), ids=lambda one: one["title"])
every_panel = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{title}: {panel['title']}") for title, all_ in dashboards() for panel in all_]
)


def _read(path: str) -> dict[str, Any]:
    return yaml.safe_load((PROVISIONING / path).read_text(encoding="utf-8"))


def _source() -> dict[str, Any]:
    (source,) = _read("datasources/prometheus.yml")["datasources"]
    return source


def _exported() -> set[str]:
    """The names of all samples that a replica can export, with or without a value yet."""
    registry = CollectorRegistry()
    Metrics(registry)
    ProcessCollector(registry=registry)
    return {family.name + end for family in registry.collect() for end in SAMPLES[family.type]}


def _recorded() -> set[str]:
    groups = [group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_there_is_a_dashboard_of_calibration_and_one_of_the_engine() -> None:
    assert [path.name for path in sorted(DASHBOARDS.iterdir())] == ["calibration.json", "engine.json"]
    assert [title for title, _ in dashboards()] == ["Calibration", "Engine"]


def test_the_data_source_is_the_prometheus_of_compose() -> None:
    source = _source()
    assert (source["uid"], source["type"]) == ("uq4ct-prometheus", "prometheus")
    assert source["url"] == "http://prometheus:9090"
    prometheus = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]


@every_dashboard
def test_a_dashboard_is_in_the_format_of_its_grafana_and_has_no_database_id(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == 42
    assert re.fullmatch(r"[a-z0-9-]{8,40}", dashboard["uid"])
    assert "id" not in dashboard
    assert dashboard["editable"] is False
    assert dashboard["description"]


def test_dashboards_and_panels_have_ids_of_their_own() -> None:
    boards = read_dashboards()
    assert len({one["uid"] for one in boards}) == len(boards)
    for one in boards:
        ids = [panel["id"] for panel in one["panels"]]
        assert ids == list(range(1, len(ids) + 1))


@every_dashboard
def test_panels_fit_on_the_grid_without_overlap(dashboard: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0
        assert place["x"] + place["w"] <= 24
        cells = itertools.product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        )
        for cell in cells:
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


def test_titles_of_a_dashboard_differ_but_for_one_number_that_is_shown_twice() -> None:
    for title, panels in dashboards():
        seen = [panel["title"] for panel in panels]
        repeated = {one for one in seen if seen.count(one) > 1}
        assert repeated == ({"Labelled share"} if title == "Calibration" else set())


@every_panel
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in PANEL_TYPES
    assert [key for key in KEYS if key in panel] == list(panel)
    assert panel["title"]
    assert re.search(r"\w\.$", panel["description"])
    if panel["type"] == "text":
        assert panel["options"]["content"]
    else:
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@every_dashboard
def test_the_data_source_can_be_chosen_and_is_first_the_provisioned_one(dashboard: dict[str, Any]) -> None:
    (variable,) = [one for one in dashboard["templating"]["list"] if one["type"] == "datasource"]
    assert dashboard["templating"]["list"][0] is variable  # the others depend on it
    assert (variable["name"], variable["query"]) == ("datasource", _source()["type"])
    assert (variable["current"]["text"], variable["current"]["value"]) == (_source()["name"], _source()["uid"])
    uids = re.findall(r'"uid": "([^"]+)"', json.dumps({**dashboard, "uid": ""}))
    assert set(uids) == {"${datasource}"}


@every_panel
def test_a_panel_says_what_it_means_that_there_is_nothing(panel: dict[str, Any]) -> None:
    if panel["type"] != "text":
        assert re.match(r"No \w+", panel["fieldConfig"]["defaults"]["noValue"])


@every_panel
def test_a_panel_links_to_sections_of_the_runbook(panel: dict[str, Any]) -> None:
    for link in panel.get("links", []):
        name = link["title"].removeprefix("Runbook: ")
        assert link["url"] == f"${{service}}/runbook#{name.lower()}"
        assert f'<h2 id="{name.lower()}">' in read_runbook()


def test_every_alert_belongs_to_a_panel_that_reads_a_metric_of_it() -> None:
    rules = [
        rule
        for path in RULES.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]
    alerts = {rule["alert"]: names_in(rule["expr"]) for rule in rules if "alert" in rule}
    linked: dict[str, set[str]] = {}
    for _, panels in dashboards():
        for panel in panels:
            read = set().union(*(names_in(target["expr"]) for target in panel.get("targets", [])))
            for link in panel.get("links", []):
                linked.setdefault(link["title"].removeprefix("Runbook: "), set()).update(read)
    assert linked.keys() == alerts.keys()
    assert [name for name, read in linked.items() if not read & alerts[name]] == []


@every_dashboard
def test_links_lead_to_the_service_of_compose_unless_another_is_given(dashboard: dict[str, Any]) -> None:
    (variable,) = [one for one in dashboard["templating"]["list"] if one["type"] == "textbox"]
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert variable["name"] == "service"
    assert f"${{UQ4CT_SERVICE_URL:-{variable['query']}}}" in compose
    assert variable["current"]["text"] == variable["current"]["value"] == variable["query"]


@every_dashboard
def test_a_dashboard_marks_promotions(dashboard: dict[str, Any]) -> None:
    (annotation,) = dashboard["annotations"]["list"]
    assert names_in(annotation["expr"]) == {"uq4ct_model_production"}
    assert annotation["enable"]
    assert annotation["step"] == "60s"
    assert annotation["expr"].count("offset 2m") == 1  # longer than a step, so that no promotion is missed


def test_the_panel_of_the_ece_has_two_lines_for_each_task() -> None:
    (panel,) = [one for _, panels in dashboards() for one in panels if one["title"] == "ECE and its noise floor"]
    by_task = [target["legendFormat"] for target in panel["targets"] if "{{task}}" in target["legendFormat"]]
    assert by_task == ["{{task}}: ECE", "{{task}}: noise floor"]


@every_panel
def test_a_panel_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    reference = {"type": _source()["type"], "uid": "${datasource}"}
    if panel["type"] != "text":
        assert panel["datasource"] == reference
        assert panel["targets"]
        assert [target["datasource"] for target in panel["targets"]] == [reference] * len(panel["targets"])
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])


def test_variables_ask_the_chosen_data_source() -> None:
    for one in read_dashboards():
        for variable in queried_variables(one):
            assert variable["datasource"]["uid"] == "${datasource}"
            assert variable["definition"] == variable["query"]["query"]


@every_panel
def test_a_panel_shows_lines_over_time_or_a_table_of_now(panel: dict[str, Any]) -> None:
    for target in panel.get("targets", []):
        assert target["range"] is (panel["type"] == "timeseries")
        assert target["instant"] is not target["range"]
        as_table = panel["type"] in {"table", "barchart", "xychart"}
        assert (target.get("format") == "table") is as_table
        assert ("legendFormat" in target) is not as_table


@every_panel
def test_a_diagram_by_bin_draws_the_columns_that_its_queries_give(panel: dict[str, Any]) -> None:
    if panel["type"] in {"barchart", "xychart"}:
        join, names, sort = panel["transformations"]
        assert join["options"]["byField"] == "bin"
        columns = names["options"]["renameByName"]
        assert set(columns) == {"bin", *(f"Value #{target['refId']}" for target in panel["targets"])}
        assert all("sum by (bin)" in one["expr"] or "max by (bin)" in one["expr"] for one in panel["targets"])
        assert [one["field"] for one in sort["options"]["sort"]] == [columns["bin"]]
        drawn = {panel["options"].get("xField", columns["bin"]), *_columns_of_points(panel)}
        assert drawn <= set(columns.values())


def _columns_of_points(panel: dict[str, Any]) -> set[str]:
    series = panel["options"].get("series", [])
    # Without a frame, or with a plugin version before 11.1, an XY chart draws none of these series.
    assert all(one["frame"]["matcher"] == {"id": "byIndex", "options": 0} for one in series)
    assert tuple(map(int, panel["pluginVersion"].split("."))) > (11, 1, 0)
    return {one[axis]["matcher"]["options"] for one in series for axis in ("x", "y")}


def test_the_reliability_diagram_is_accuracy_over_confidence_beside_the_diagonal() -> None:
    (panel,) = [one for _, panels in dashboards() for one in panels if one["type"] == "xychart"]
    confidence, accuracy, diagonal = [target["expr"] for target in panel["targets"]]
    assert names_in(confidence) == {
        f"model_version_task_bin:uq4ct_labelled_{name}:increase24h" for name in ("confidence", "predictions")
    }
    assert names_in(accuracy) == {
        f"model_version_task_bin:uq4ct_labelled_{name}:increase24h" for name in ("correct", "predictions")
    }
    assert diagonal == confidence
    columns = panel["transformations"][1]["options"]["renameByName"]
    x, y, on_diagonal = (columns[f"Value #{ref}"] for ref in "ABC")
    axes = [tuple(one[axis]["matcher"]["options"] for axis in ("x", "y")) for one in panel["options"]["series"]]
    assert axes == [(x, y), (x, on_diagonal)]


def test_a_panel_with_the_ece_also_shows_its_noise_floor() -> None:
    for _, panels in dashboards():
        for panel in panels:
            names = {name for target in panel.get("targets", []) for name in names_in(target["expr"])}
            if "model_version_task:uq4ct_ece:ratio24h" in names:
                assert "model_version_task:uq4ct_ece_noise_floor:ratio24h" in names, panel["title"]


def test_references_are_the_same_on_every_replica_and_not_added_up() -> None:
    for one in panel_expressions(VARIABLES):
        for found in re.finditer(r"uq4ct_(reference|sequential)_", one.expression):
            assert re.search(r"max by \([\w, ]+\) \($", one.expression[: found.start()]), one


def test_the_alarm_line_is_where_the_tests_alarm() -> None:
    lines = [one.expression for one in panel_expressions(VARIABLES) if one.panel == "Sequential evidence"][1:]
    alpha = Settings.model_fields["sequential_alpha"].default
    assert lines == [f"ln(vector(2 / {alpha}))"]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('a_total{b="c{d", e=~".*"}', {"a_total"}),
        ("sum by (a, b) (rate(c_total[5m])) / ignoring(a) group_left (d) e:f:g24h", {"c_total", "e:f:g24h"}),
        ("histogram_quantile(0.9, sum by (le) (rate(a_bucket[1h])))", {"a_bucket"}),
        ("a > 1e3 and b offset 5m or ln(vector(2 / 0.01))", {"a", "b"}),
        ("sum(a) by (c) - max(b)", {"a", "b"}),
    ],
)
def test_the_names_in_an_expression_are_found(expression: str, names: set[str]) -> None:
    assert names_in(expression) == names


def test_every_metric_in_a_panel_or_variable_is_exported_or_recorded() -> None:
    expressions = [one.expression for one in panel_expressions(VARIABLES)] + [*metrics_of_variables(), *promotions()]
    asked = set().union(*map(names_in, expressions))
    assert len(asked) > 40
    assert asked - _exported() - _recorded() == set()


def test_variables_are_replaced_in_both_forms_and_one_without_a_value_is_an_error() -> None:
    assert substitute('a{b="$model"}[${__range}]', {"model": "x", "__range": "1h"}) == 'a{b="x"}[1h]'
    with pytest.raises(KeyError, match="task"):
        panel_expressions({"model": "toy", "version": "1"})
    assert not [one for one in panel_expressions(VARIABLES) if "$" in one.expression]
    intervals = [one for one in panel_expressions(VARIABLES | {"__rate_interval": "7m"}) if "[7m]" in one.expression]
    assert len(intervals) > 10


@pytest.mark.slow
def test_promtool_can_read_every_expression(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool is missing: install Prometheus (Debian: apt install prometheus)"
    expressions = [one.expression for one in panel_expressions(VARIABLES)] + [
        substitute(selector, VARIABLES) for selector in [*metrics_of_variables(), *promotions()]
    ]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(expressions)]
    file = tmp_path / "expressions.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
