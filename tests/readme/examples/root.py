"""README.md."""

from __future__ import annotations

from tests.readme.pages import ROOT_PAGE, commands

PAGE = ROOT_PAGE

_make, _ask, ANSWER = PAGE.code("Two commands", "sh", "sh", "json")
MAKE_DEMO, MAKE_SERVE = commands(_make)
(PREDICT,) = commands(_ask)

(MAKE_DEMO_AGAIN,) = PAGE.spans("Results")

(_install,) = PAGE.code("Installation", "sh")
INSTALL_CLIENT, INSTALL_ALL, INSTALL_BASE = commands(_install)
INSTALL_TORCH, MAKE_WITH_INDEX, COMPOSE_UP = PAGE.spans("Installation")

(_own,) = PAGE.code("Your own questions", "sh")
NEW_RECIPE, TRAIN, PUBLISH, SERVE = commands(_own)

(PYTHON_CLIENT,) = PAGE.code("Asking from Python", "python")

(CITATION,) = PAGE.code("More", "bibtex")
(MAKE_TEST,) = PAGE.spans("More")
