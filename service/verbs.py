"""The service's subcommands of `uq4ct`; imports nothing, so that `uq4ct --help` is fast."""

CLI = "uq4ct.service.cli:cli"
VERBS = {
    "serve": "Answer questions over HTTP until SIGTERM.",
    "check": "Read the keys, load the model, answer one question, print the answer and exit.",
    "promote": "Point an alias of a model to another version, after checking every file of that version.",
    "replay": "Ask a running service a week of questions in minutes, with late and partly missing labels.",
    "calibration-report": "Write a report of the calibration in the ledger.",
    "keys": "Make, list and revoke API keys.",
    "ledger": "Migrate, prune and export the ledger.",
}
