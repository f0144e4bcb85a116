"""docker/README.md."""

from __future__ import annotations

from tests.readme.pages import DOCKER_PAGE, commands

PAGE = DOCKER_PAGE

(_compose,) = PAGE.code("Compose", "sh")
COMPOSE_UP, COMPOSE_KEY = commands(_compose)

(_postgres,) = PAGE.code("Variables", "sh")
(COMPOSE_POSTGRES,) = commands(_postgres)

(_own,) = PAGE.code("Your own model", "sh")
COMPOSE_TRAIN, COMPOSE_PUBLISH, COMPOSE_UP_WITH_MODEL = commands(_own)

(GPU_OVERRIDE,) = PAGE.code("GPU", "yaml")

_build, _build_small = PAGE.code("Images", "sh", "sh")
BUILD_SERVICE, BUILD_TRAINING = commands(_build)
BUILD_SMALL, COMPOSE_BUILD_SMALL = commands(_build_small)
COMMAND_OF_SERVICE, COMMAND_OF_TRAINING = PAGE.spans("Images")

(_rules,) = PAGE.code("Alerts", "sh")
CHECK_RULES, TEST_RULES = commands(_rules)
