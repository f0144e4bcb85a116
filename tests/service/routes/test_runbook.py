"""The runbook over HTTP: public, escaped, with every word of its text, and under the policy of the pages."""

from __future__ import annotations

import html
import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.docker.dockerfile import ROOT
from tests.docker.grafana import substitute
from tests.docker.prometheus_rules import PROMETHEUS, read_rules
from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Start
from tests.service.problem_documents import problem
from uq4ct.service.runbook.rendering import render

pytestmark = pytest.mark.anyio
TEXT = files("uq4ct.service.runbook").joinpath("RUNBOOK.md").read_text("utf-8")
ALERTS = {rule["alert"]: rule for rule in read_rules() if "alert" in rule}


def service_url_of_compose() -> dict[str, str]:
    """The variables of Prometheus's container, if nothing sets them."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    assert "127.0.0.1:8000:8000" in compose["services"]["service"]["ports"]
    environment = compose["services"]["prometheus"]["environment"]
    (name, value), *others = environment.items()
    default = value.removeprefix(f"${{{name}:-").removesuffix("}")
    assert (value, others) == (f"${{{name}:-{default}}}", [])
    dockerfile = (ROOT / "docker/monitoring.Dockerfile").read_text(encoding="utf-8")
    assert f"ENV {name}={default}\n" in dockerfile
    return {name: default}


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key."""
    holder = KeyHolder(tmp_path)
    holder.new("predict")
    return holder


async def test_whoever_follows_a_link_reads_the_whole_runbook(start: Start) -> None:
    async with start(wait=False) as replica:
        page = await replica.client.get("/runbook")
        same = await replica.client.get("/runbook", headers={"if-none-match": page.headers["etag"]})
        problem(await replica.client.post("/runbook"), 405, "method-not-allowed")
        for linked in re.findall(r'<link [^>]*href="([^"]+)"', page.text):
            assert (await replica.client.get(f"/{linked}")).status_code == 200
    assert same.status_code == 304
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    body = page.text.partition("<main>")[2].partition("</main>")[0]
    shown = html.unescape(re.sub(r"<[^>]+>", "", body)).split()
    assert shown == re.sub(r"^(?:#+|-) |`", "", TEXT, flags=re.MULTILINE).split()


async def test_the_runbook_needs_no_key(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file, docs_need_key=True, wait=False) as replica:
        assert (await replica.client.get("/runbook")).status_code == 200


@pytest.mark.parametrize("name", ALERTS)
async def test_the_link_of_an_alert_leads_to_its_section(start: Start, name: str) -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    base = substitute(config["global"]["external_labels"]["service_url"], service_url_of_compose())
    link = urlsplit(ALERTS[name]["annotations"]["runbook_url"].replace("{{ $externalLabels.service_url }}", base))
    assert (link.scheme, link.netloc, link.path) == ("http", "localhost:8000", "/runbook")
    async with start(wait=False) as replica:
        page = await replica.client.get(f"{link.scheme}://{link.netloc}{link.path}")
    assert page.status_code == 200
    assert re.findall(rf'<h2 id="{link.fragment}"><a href="#{link.fragment}">(\w+)</a></h2>', page.text) == [name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Run & look", "<h1>Run &amp; look</h1>"),
        ("## NoLabels", '<h2 id="nolabels"><a href="#nolabels">NoLabels</a></h2>'),
        ("One\nline of `<code>`.", "<p>One line of <code>&lt;code&gt;</code>.</p>"),
        ("- one\n  more\n- `two`", "<ul><li>one more</li></ul>\n<ul><li><code>two</code></li></ul>"),
        ("a <script>\n\n- b", "<p>a &lt;script&gt;</p>\n<ul><li>b</li></ul>"),
    ],
)
def test_markdown_becomes_escaped_html(text: str, expected: str) -> None:
    assert render(text) == expected
