"""training/README.md."""

from __future__ import annotations

from tests.readme.pages import TRAINING_PAGE, commands

PAGE = TRAINING_PAGE

(HELP,) = PAGE.spans("Training")

(_own,) = PAGE.code("Your own questions", "sh")
NEW_RECIPE, TRAIN, RESUME, EVALUATE, PUBLISH = commands(_own)

CSV_FILE, JSONL_FILE = PAGE.code("Question files", "csv", "jsonl")

RECIPE, _shipped, MAPPED_DATA = PAGE.code("Recipes", "yaml", "sh", "yaml")
(TRAIN_SHIPPED,) = commands(_shipped)
CHECK_BASE, PLAN = PAGE.spans("Recipes")

(_methods,) = PAGE.code("Methods", "sh")
TRAIN_LORA, TRAIN_ON, PUBLISH_ISOTONIC = commands(_methods)

(_evaluating,) = PAGE.code("Evaluating and comparing", "sh")
EVALUATE_RUN, EVALUATE_STORED, EVALUATE_UNTRAINED, COMPARE = commands(_evaluating)

(_publishing,) = PAGE.code("Publishing", "sh")
PUBLISH_PRODUCTION, PUBLISH_WITH_TARGET = commands(_publishing)

(_studies,) = PAGE.code("Studies", "sh")
STUDY, STUDY_OF_TWO, STUDY_REPORT = commands(_studies)

(_researching,) = PAGE.code("Ten minutes as a researcher", "sh")
STUDY_TWO_METHODS, STUDY_ONE_MORE, STUDY_ALL_THREE = commands(_researching)

(_elsewhere,) = PAGE.code("Adapters from elsewhere", "sh")
ADOPT, TO_PEFT = commands(_elsewhere)
