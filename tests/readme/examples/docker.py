"""docker/README.md."""

from __future__ import annotations

from tests.readme.pages import DOCKER_PAGE, commands

PAGE = DOCKER_PAGE

(_compose,) = PAGE.code("Compose", "sh")
COMPOSE_UP, COMPOSE_KEY = commands(_compose)
COMPOSE_VERSION, COMPOSE_DOWN, COMPOSE_DELETE, COMPOSE_REBUILD = PAGE.spans("Compose")

(_postgres,) = PAGE.code("Variables", "sh")
SET_PROFILE, SET_PASSWORD, COMPOSE_UP_WITH_POSTGRES = commands(_postgres)
(PROFILE_FLAG,) = PAGE.spans("Variables")

(_own,) = PAGE.code("Your own model", "sh")
COMPOSE_TRAIN, COMPOSE_PUBLISH, COMPOSE_UP_WITH_MODEL = commands(_own)

(_gpu,) = PAGE.code("GPU", "sh")
(COMPOSE_UP_WITH_GPU,) = commands(_gpu)

(STATS,) = PAGE.spans("Limits")

_build, _build_small = PAGE.code("Images", "sh", "sh")
BUILD_SERVICE, BUILD_TRAINING = commands(_build)
BUILD_SMALL, COMPOSE_BUILD_SMALL = commands(_build_small)
COMMAND_OF_SERVICE, COMMAND_OF_TRAINING, PIN_IMAGES, LOCK, REPLAY = PAGE.spans("Images")

(_rules,) = PAGE.code("Alerts", "sh")
CHECK_RULES, TEST_RULES = commands(_rules)
