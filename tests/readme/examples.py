"""The README's blocks and commands by name: all of them, so that a new one fails here until a test takes it."""

from __future__ import annotations

from tests.readme.blocks import blocks, commands, spans

_make, _first = blocks("Two commands")
MAKE_DEMO, MAKE_SERVE = commands(_make)
_ask, ANSWER = _first.split("\n\n")
(PREDICT,) = commands(_ask)
(MAKE_DEMO_AGAIN,) = spans("Two commands")

MAKE_WITH_INDEX, INSTALL, INSTALL_BASE, COMPOSE_UP, COMPOSE_KEY, COMPOSE_POSTGRES = spans("Installation")

(_own,) = blocks("Training your own")
TRAIN_SHIPPED, TRAIN, RESUME, EVALUATE, COMPARE, PUBLISH, PUBLISH_WITH_TARGET = commands(_own)

(_studies,) = blocks("Studies")
STUDY, STUDY_OF_TWO, STUDY_REPORT = commands(_studies)

(_elsewhere,) = blocks("Adapters from elsewhere")
ADOPT, TO_PEFT = commands(_elsewhere)
(_methods,) = blocks("Methods")
TRAIN_LORA, TRAIN_ON, PUBLISH_ISOTONIC = commands(_methods)

SERVE, CHECK, KEYS, PROMOTE = spans("Serving")

(_keys,) = blocks("Keys")
NEW_KEY, SERVE_WITH_KEYS, MODELS, LIST_KEYS, REVOKE_KEY = commands(_keys)

_asked, _kept = blocks("Ledger")
FEEDBACK, CALIBRATION = commands(_asked)
MIGRATE, PRUNE, EXPORT = commands(_kept)

_report, _replay = blocks("Live calibration")
(REPORT,) = commands(_report)
QUESTIONS, REPLAY = commands(_replay)

(PYTHON_CLIENT,) = blocks("Asking from Python")

(_development,) = blocks("Development")
MAKE_TEST, MAKE_TEST_ALL, MAKE_BENCH = commands(_development)
