"""The tables of the READMEs agree with the code."""

from __future__ import annotations

import re
import tomllib
from typing import get_args

import httpx2
import pytest

import uq4ct.client as client_module
from tests.docker.compose import COMPOSE, SERVICES, dockerfile_of, environment_of
from tests.docker.prometheus_rules import read_rules
from tests.readme.pages import DOCKER_PAGE, RECIPES, ROOT, ROOT_PAGE, SERVICE_PAGE, TRAINING_PAGE, Page
from uq4ct.client import ClientError, ServiceError
from uq4ct.service.access.keys import Scope
from uq4ct.service.client.errors import error_of
from uq4ct.service.http import kinds as kinds_module
from uq4ct.service.schemas.predict import PredictResponse
from uq4ct.service.settings import Settings
from uq4ct.service.verbs import VERBS as SERVICE_VERBS
from uq4ct.training.data.config import SPLIT_NAMES
from uq4ct.training.data.hub_sets import HUB_SETS
from uq4ct.training.methods import METHODS
from uq4ct.training.run_config import CalibrationName, load_run_config
from uq4ct.training.verbs import VERBS as TRAINING_VERBS

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
METHOD_RECIPES = {row[0].strip("`"): row[-1].strip("`") for row in TRAINING_PAGE.table("method", "what it is")}
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def _first_cells(page: Page, first: str, second: str) -> list[str]:
    return [cell.strip("`") for cell, *_ in page.table(first, second)]


def test_the_table_of_settings_is_the_settings_class() -> None:
    rows = [row[:2] for row in SERVICE_PAGE.table("variable", "default")]
    assert rows == [
        [f"`UQ4CT_{name.upper()}`", "" if field.default in (None, "") else f"`{field.default}`"]
        for name, field in Settings.model_fields.items()
    ]


@pytest.mark.parametrize(("page", "verbs"), [(SERVICE_PAGE, SERVICE_VERBS), (TRAINING_PAGE, TRAINING_VERBS)])
def test_the_table_of_verbs_has_each_verb_of_the_command(page: Page, verbs: dict[str, str]) -> None:
    assert sorted(_first_cells(page, "verb", "what it does")) == sorted(verbs)


def test_the_table_of_extras_is_that_of_the_project() -> None:
    assert _first_cells(ROOT_PAGE, "extra", "adds") == ["(none)", *(name for name in EXTRAS if name != "dev")]


def test_every_recipe_of_the_readme_ships_and_the_other_way_round() -> None:
    cells = [cell for cell, *_ in TRAINING_PAGE.table("recipe", "what it trains")]
    named = {name for cell in cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}
    shipped = {path.stem for path in RECIPES.glob("*.yaml")}
    assert named | set(METHOD_RECIPES.values()) - {""} == shipped


def test_the_table_of_methods_has_each_and_its_recipe_if_one_ships() -> None:
    assert set(METHOD_RECIPES) == set(METHODS)
    for method, recipe in METHOD_RECIPES.items():
        assert not recipe or load_run_config(RECIPES / f"{recipe}.yaml").method == method


def test_the_table_of_calibrations_is_what_a_recipe_may_say() -> None:
    assert _first_cells(TRAINING_PAGE, "calibration", "what it does") == list(get_args(CalibrationName))


def test_the_table_of_splits_is_what_a_run_uses() -> None:
    assert set(_first_cells(TRAINING_PAGE, "split", "what it is for")) == SPLIT_NAMES


def test_the_hub_data_sets_are_named() -> None:
    (sentence,) = re.findall(r"The hub data sets are ([^.]+)\.", TRAINING_PAGE.text)
    assert re.findall(r"`(\w+)`", sentence) == list(HUB_SETS)


def test_the_table_of_problems_is_every_kind_of_problem() -> None:
    kinds = [one for one in vars(kinds_module).values() if isinstance(one, kinds_module.Kind)]
    rows = [row[:3] for row in SERVICE_PAGE.table("type", "status")]
    assert rows == [[f"`{kind.slug}`", str(kind.status), kind.title] for kind in kinds]


def test_the_table_of_fields_is_what_an_answer_has() -> None:
    assert _first_cells(SERVICE_PAGE, "field", "meaning") == list(PredictResponse.model_fields)


def test_the_table_of_scopes_is_what_a_key_may_have() -> None:
    assert _first_cells(SERVICE_PAGE, "scope", "allows") == [scope.value for scope in Scope]


def test_the_table_of_client_errors_says_which_status_raises_which() -> None:
    rows = {cell.strip("`"): when for cell, when in SERVICE_PAGE.table("error", "raised for")}
    errors = {name for name in client_module.__all__ if name.endswith("Error")}
    assert set(rows) == errors - {ClientError.__name__, ServiceError.__name__}
    explicit = {int(status): name for name, when in rows.items() for status in re.findall(r"\b[45]\d\d\b", when)}
    for status in range(400, 600):
        other = "InvalidRequestError" if status < 500 else "ServiceFailedError"
        assert type(error_of(httpx2.Response(status))).__name__ == explicit.get(status, other), status


def test_the_table_of_containers_has_their_ports() -> None:
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    published = {name: "".join(port.rsplit(":", 2)[1] for port in mapped) for name, mapped in ports.items()}
    assert {name.strip("`"): port for name, port, _ in DOCKER_PAGE.table("service", "port")} == published
    assert all(port.startswith("127.0.0.1:") for mapped in ports.values() for port in mapped)


def test_the_table_of_variables_is_what_compose_reads() -> None:
    assert set(_first_cells(DOCKER_PAGE, "variable", "meaning")) == set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE_TEXT))
    assert environment_of("service")["UQ4CT_DEFAULT_MODEL"] == "quickstart"


def test_the_table_of_volumes_is_what_compose_keeps() -> None:
    assert _first_cells(DOCKER_PAGE, "volume", "what it contains") == list(COMPOSE["volumes"])


def test_the_table_of_images_says_what_is_in_them() -> None:
    rows = {name.strip("`"): contents for name, contents, _ in DOCKER_PAGE.table("image", "contains")}
    built = {SERVICES[name]["image"]: dockerfile_of(name) for name in ("service", "quickstart")}
    extras = {name: file.arguments["EXTRAS"].split(",") for name, file in built.items()}
    assert {name: re.findall(r"`(\w+)`", contents) for name, contents in rows.items()} == extras


def test_the_table_of_alerts_has_their_severity() -> None:
    alerts = [[rule["alert"], rule["labels"]["severity"]] for rule in read_rules() if "alert" in rule]
    rows = DOCKER_PAGE.table("alert", "severity")
    assert [[re.sub(r"^\[(\w+)\].*$", r"\1", cell), severity] for cell, severity in rows] == alerts
