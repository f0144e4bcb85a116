"""The questions that a run uses for training, calibration and test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from uq4ct.model_store.frozen import Frozen
from uq4ct.training.data.columns import Columns
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


class _CarvedTest(_CarvedData):
    """Train may be the only split: test and calibration are then carved out of it."""

    test_share: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of train carved out for test if there is no such split; null means 0.2",
    )

    @property
    def carved_test_share(self) -> float:
        """The share of train that becomes the test split if the source has none."""
        return DEFAULT_TEST_SHARE if self.test_share is None else self.test_share

    def _check_carving(self, calibration: str | None, test: str | None, shift: Iterable[str]) -> None:
        """Raise ValueError if a share has no effect, given what the splits are read from, or a name is taken."""
        if calibration is not None and self.calibration_share is not None:
            raise ValueError(f"calibration_share {self.calibration_share} has no effect: calibration is {calibration}")
        if test is not None and self.test_share is not None:
            raise ValueError(f"test_share {self.test_share} has no effect: test is {test}")
        taken = SPLIT_NAMES & set(shift)
        if taken:
            raise ValueError(f"shift: {min(taken)!r} is the name of a split, choose another")


class _FileData(_CarvedTest):
    """Paths may hold environment variables as `${NAME}`.

    A relative path in a recipe is looked up beside the recipe first, then in the working folder.
    """

    train: str = Field(description="path of the training questions")
    calibration: str | None = Field(
        default=None, description="path of the calibration questions; null carves them from train"
    )
    test: str | None = Field(default=None, description="path of the test questions; null carves them from train")
    shift: dict[str, str] = Field(default_factory=dict, description="further test sets, name -> path")

    @model_validator(mode="after")
    def _check(self) -> Self:
        calibration, test = (None if path is None else "a file" for path in (self.calibration, self.test))
        self._check_carving(calibration, test, self.shift)
        return self


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


class TableData(_FileData):
    """Parquet, CSV or JSON lines files in any layout."""

    source: Literal["table"] = Field(default="table", description=".parquet, .csv or .jsonl files of any layout")
    columns: Columns = Field(default_factory=Columns, description="the columns that make a question")


class HubTable(Frozen):
    """A split of any public data set, and the columns that make its questions."""

    dataset: str = Field(pattern=r"^[^/\s]+/[^/\s]+$", description="repository of the hub, owner/name")
    config: str | None = Field(default=None, description="configuration of the data set; null = its default")
    split: str = Field(default="train", min_length=1, description="published split of the questions")
    revision: str = Field(
        default="main", min_length=1, description="commit, tag or branch; a commit makes the run repeatable"
    )
    columns: Columns = Field(default_factory=Columns, description="the columns that make a question")


class HubTableData(HubTable, _CarvedTest):
    """Any public data set of the hub; splits that are not named are carved out of `split`."""

    source: Literal["hub"] = Field(default="hub", description="a public data set")
    calibration_split: str | None = Field(default=None, description="split for calibration; null carves from train")
    test_split: str | None = Field(default=None, description="split for the test; null carves from train")
    shift: dict[str, HubTable] = Field(default_factory=dict, description="further test sets by name")

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_carving(self.calibration_split, self.test_split, self.shift)
        splits = [one for one in (self.split, self.calibration_split, self.test_split) if one is not None]
        if len(set(splits)) != len(splits):
            raise ValueError(f"split, calibration_split and test_split {splits} name a split twice")
        return self


def _kind(data: Any) -> str | None:
    """Return the tag of a data section: a hub data set with a slash in its name is read through a mapping."""
    source, dataset = (
        (data.get("source"), data.get("dataset"))
        if isinstance(data, dict)
        else (getattr(data, "source", None), getattr(data, "dataset", None))
    )
    return "hub_table" if source == "hub" and isinstance(dataset, str) and "/" in dataset else source


DataConfig = Annotated[
    Annotated[FactsData, Tag("facts")]
    | Annotated[JsonlData, Tag("jsonl")]
    | Annotated[CsvData, Tag("csv")]
    | Annotated[TableData, Tag("table")]
    | Annotated[HubData, Tag("hub")]
    | Annotated[HubTableData, Tag("hub_table")],
    Discriminator(_kind),
]
