"""Accessibility problems that axe-core finds in the page of a browser."""

from __future__ import annotations

from importlib.resources import files

from selenium.webdriver import Chrome

_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_RUN = """
const done = arguments[0];
axe.run(document).then(found => done(found.violations), error => done(String(error)));
"""


def axe_violations(driver: Chrome) -> list[str]:
    """Return one line per element: the rule and how serious it is, the element's markup, and what to do."""
    driver.execute_script(_AXE)
    found = driver.execute_async_script(_RUN)
    assert isinstance(found, list), found
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:120]}: {' '.join(node['failureSummary'].split())}"
        for rule in found
        for node in rule["nodes"]
    ]
