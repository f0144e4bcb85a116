""".github/CONTRIBUTING.md."""

from __future__ import annotations

from tests.readme.pages import CONTRIBUTING_PAGE, commands

PAGE = CONTRIBUTING_PAGE

(_set_up,) = PAGE.code("Set-up", "sh")
CLONE, MAKE_TEST, MAKE_TEST_ALL, MAKE_BENCH, MAKE_GPU = commands(_set_up)
MAKE_TEST_AGAIN, MAKE_TEST_ALL_AGAIN, ENABLE_LINKS = PAGE.spans("Set-up")

_freeze, _images = PAGE.code("Dependencies", "sh", "sh")
(FREEZE,) = commands(_freeze)
MAKE_LOCK, MAKE_PIN_IMAGES, MAKE_AUDIT = commands(_images)

_tests, _pictures = PAGE.code("Tests", "sh", "sh")
TEST_FOLDER, TEST_SLOW, TEST_GPU = commands(_tests)
(PICTURES,) = commands(_pictures)
(MAKE_DEMO,) = PAGE.spans("Tests")

(_style,) = PAGE.code("Style", "sh")
FIX, FORMAT, CONTRACTS, TYPES = commands(_style)
