"""The dashboards of docker/grafana, and their expressions as Grafana sends them to Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.docker.dockerfile import ROOT

DASHBOARDS = ROOT / "docker/grafana/dashboards"
# Grafana's values at a scrape interval of 15 s; a test can override them.
INTERVALS = {"__rate_interval": "1m", "__range": "1h", "__interval": "15s"}

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")


@dataclass(frozen=True)
class PanelExpression:
    """One query of one panel, with values in place of Grafana's variables."""

    dashboard: str
    panel: str
    expression: str


def read_dashboards() -> list[dict[str, Any]]:
    """All dashboards as Grafana reads them, in the order of their file names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))]


def dashboards() -> list[tuple[str, list[dict[str, Any]]]]:
    """The title and the panels of each dashboard, without the headings of rows."""
    return [(one["title"], [panel for panel in one["panels"] if panel["type"] != "row"]) for one in read_dashboards()]


def panel_expressions(variables: Mapping[str, str]) -> list[PanelExpression]:
    """Every query of every panel.

    Args:
        variables: values of model, version and task (`.*` is all tasks); intervals given here override INTERVALS.

    Raises:
        KeyError: an expression has a variable without a value.
    """
    values = INTERVALS | dict(variables)
    return [
        PanelExpression(title, panel["title"], substitute(target["expr"], values))
        for title, panels in dashboards()
        for panel in panels
        for target in panel.get("targets", [])
    ]


def substitute(expression: str, values: Mapping[str, str]) -> str:
    """Replace `$name` and `${name}`; KeyError names a variable without a value."""
    return _VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)


def queried_variables(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The variables whose values are labels in Prometheus."""
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]


def promotions() -> list[str]:
    """The query of each dashboard's annotations."""
    return [annotation["expr"] for one in read_dashboards() for annotation in one["annotations"]["list"]]


def metrics_of_variables() -> Iterator[str]:
    """The selectors in the `label_values` queries of the dashboards' variables."""
    for one in read_dashboards():
        for variable in queried_variables(one):
            (selector,) = re.findall(r"^label_values\((.+), \w+\)$", variable["query"]["query"])
            yield selector
