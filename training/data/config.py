"""The questions that a run uses for training, calibration and test."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from uq4ct.model_store.frozen import Frozen
from uq4ct.training.data.hub_sets import HUB_SETS

DEFAULT_TEST_SHARE = 0.2  # of all questions, if one file contains them
DEFAULT_CALIBRATION_SHARE = 0.2  # of train, after test is carved out
SPLIT_NAMES = frozenset({"train", "fit", "guarantee", "test"})


class _Limits(Frozen):
    """Limits on the questions. The lowest id hashes are kept, so a smaller draw is a subset of a larger one."""

    train_limit: int | None = Field(default=None, ge=1, description="questions kept for training; null keeps all")
    calibration_limit: int | None = Field(
        default=None,
        ge=2,
        description="questions kept for calibration, half for fit and half for guarantee; null keeps all",
    )
    test_limit: int | None = Field(
        default=None, ge=1, description="questions kept for test and for each shift set; null keeps all"
    )


class FactsData(_Limits):
    """The quiz that ships with the project."""

    source: Literal["facts"] = Field(default="facts", description="the quiz that ships with the project")
    seed: int = Field(default=0, description="random seed of the splits, wrong options and option order")


class _CarvedData(_Limits):
    calibration_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of train carved out for calibration if there is no such split; null means 0.2",
    )

    @property
    def carved_share(self) -> float:
        """The share of train that becomes the calibration split if the source has none."""
        return DEFAULT_CALIBRATION_SHARE if self.calibration_share is None else self.calibration_share


class _FileData(_CarvedData):
    """Paths may hold environment variables as `${NAME}`.

    A relative path in a recipe is looked up beside the recipe first, then in the working folder.
    """

    train: str = Field(description="path of the training questions")
    calibration: str | None = Field(
        default=None, description="path of the calibration questions; null carves them from train"
    )
    test: str | None = Field(default=None, description="path of the test questions; null carves them from train")
    test_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of train carved out for test if there is no test file; null means 0.2",
    )
    shift: dict[str, str] = Field(default_factory=dict, description="further test sets, name -> path")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.calibration is not None and self.calibration_share is not None:
            raise ValueError(f"calibration_share {self.calibration_share} has no effect: calibration is a file")
        if self.test is not None and self.test_share is not None:
            raise ValueError(f"test_share {self.test_share} has no effect: test is a file")
        taken = SPLIT_NAMES & set(self.shift)
        if taken:
            raise ValueError(f"shift: {min(taken)!r} is the name of a split, choose another")
        return self

    @property
    def carved_test_share(self) -> float:
        """The share of train that becomes the test split if there is no test file."""
        return DEFAULT_TEST_SHARE if self.test_share is None else self.test_share


class JsonlData(_FileData):
    """One JSON object per line: id, question, options, answer, and optionally context and subject."""

    source: Literal["jsonl"] = Field(default="jsonl", description="files of JSON lines")


class CsvData(_FileData):
    """A table with a header: question, option_1, option_2, ..., answer, and optionally id, context and subject."""

    source: Literal["csv"] = Field(default="csv", description="CSV files")


class HubSet(Frozen):
    """A public data set at one revision."""

    dataset: str = Field(description="one of the names in uq4ct.training.data.hub_sets")
    revision: str = Field(
        default="main", min_length=1, description="commit, tag or branch; a commit makes the run repeatable"
    )
    test: Literal["test", "validation"] | None = Field(
        default=None,
        description="published split to test on, the other one calibrates; null = test if its answers are public",
    )

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if self.dataset not in HUB_SETS:
            raise ValueError(f"dataset {self.dataset!r} is not one of {', '.join(HUB_SETS)}")
        HUB_SETS[self.dataset].calibration_and_test(self.test)
        return self


class HubData(HubSet, _CarvedData):
    """A public data set, with the test splits of others as shift sets."""

    source: Literal["hub"] = Field(default="hub", description="a public data set")
    shift: tuple[HubSet, ...] = Field(default=(), description="data sets whose test split is a shift set")

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.calibration_share is not None and HUB_SETS[self.dataset].calibration is not None:
            raise ValueError(
                f"calibration_share {self.calibration_share} has no effect: {self.dataset} has a calibration split"
            )
        names = [self.dataset, *(shifted.dataset for shifted in self.shift)]
        if len(set(names)) != len(names):
            raise ValueError(f"shift {names[1:]} contains a data set twice or the trained one, {self.dataset}")
        return self


DataConfig = Annotated[FactsData | JsonlData | CsvData | HubData, Field(discriminator="source")]
