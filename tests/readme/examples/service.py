"""service/README.md."""

from __future__ import annotations

from tests.readme.pages import SERVICE_PAGE, commands

PAGE = SERVICE_PAGE

(_start,) = PAGE.code("Commands", "sh")
CHECK, SERVE, SERVE_ON_PORT = commands(_start)
(HELP,) = PAGE.spans("Commands")

_ask, ANSWER = PAGE.code("Answers", "sh", "json")
(PREDICT,) = commands(_ask)

SERVE_WITH_SETTINGS, CHECK_WITH_SETTINGS, KEYS = PAGE.spans("Settings")
(NGINX,) = PAGE.code("Settings", "nginx")

(PROMOTE,) = PAGE.spans("Models in memory")

(_keys,) = PAGE.code("Keys", "sh")
NEW_KEY, SERVE_WITH_KEYS, MODELS, LIST_KEYS, REVOKE_KEY = commands(_keys)

_asked, _kept = PAGE.code("Ledger", "sh", "sh")
FEEDBACK, CALIBRATION = commands(_asked)
MIGRATE, PRUNE, EXPORT = commands(_kept)
(PRUNE_ANYWAY,) = PAGE.spans("When the clock jumps")

_report, _replay = PAGE.code("Live calibration", "sh", "sh")
(REPORT,) = commands(_report)
QUESTIONS, REPLAY = commands(_replay)
(REPORT_AGAIN,) = PAGE.spans("Live calibration")

(_operating,) = PAGE.code("Ten minutes as an operator", "sh")
(
    OPERATOR_QUESTIONS, OPERATOR_REPLAY, OPERATOR_CALIBRATION, OPERATOR_ERRORS, OPERATOR_REPORT, OPERATOR_PROMOTIONS,
    OPERATOR_ROLL_BACK,
) = commands(_operating)  # fmt: skip
OPERATOR_DEMO, OPERATOR_SERVE = PAGE.spans("Ten minutes as an operator")
(DEVELOPER_PROGRAM,) = PAGE.code("Ten minutes as an application developer", "python")
(DEVELOPER_SERVE,) = PAGE.spans("Ten minutes as an application developer")

(_infer,) = PAGE.code("Open Inference Protocol", "sh")
(INFER,) = commands(_infer)

PYTHON_CLIENT, PYTHON_CSV, PYTHON_PREDICTOR = PAGE.code("Python client", "python", "python", "python")

_refused, PROBLEM = PAGE.code("Problems", "sh", "json")
(REFUSED,) = commands(_refused)
