"""Training's verbs of the command `uq4ct`; imports nothing, so that `uq4ct --help` is fast."""

CLI = "uq4ct.training.cli:app"
VERBS = {
    "new-recipe": "Write a recipe for your own question files.",
    "fetch": "Fetch and convert a base model ahead of time.",
    "check-base": "Load a base model and say whether adapters can be trained on it.",
    "questions": "Write the questions and answers of a recipe's split to a file.",
    "plan": "Say how much memory and time a recipe's training will take.",
    "train": "Train a recipe.",
    "evaluate": "Score a run, a stored adapter or an untrained base model on a split.",
    "compare": "Compare the predictions of two models on the same questions.",
    "publish": "Score a finished run and store it as the next version of its name.",
    "adopt": "Turn an adapter that was trained elsewhere into a finished run.",
    "export": "Write a plain LoRA run as a PEFT checkpoint.",
    "demo": "Train a recipe, publish it, serve it and ask it three questions.",
    "study": "Train and score methods x data sets x seeds, then write the report.",
    "study-report": "Write the report of what a study has finished so far.",
}
