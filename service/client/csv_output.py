"""An output file that grows row by row and is continued after an interruption."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from uq4ct.service.client.errors import InvalidArgumentError


class CsvOutput:
    """A CSV file with this header; each row is flushed as a whole line.

    Raises:
        InvalidArgumentError: the file holds something else, or cannot be opened.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self._path = path
        self._header = list(header)
        try:
            self._end = self._check_header()
            self._file = path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            raise InvalidArgumentError(f"output: {path}: {error.strerror}") from error
        self._writer = csv.writer(self._file, lineterminator="\n")

    def kept_rows(self) -> Iterator[list[str]]:
        """Yield the whole rows after the header."""
        for cells, end in self._records():
            self._end = end
            yield cells

    def start(self) -> None:
        """Drop a torn row at the end, after `kept_rows`, and write the header of a new file."""
        self._file.truncate(self._end)
        if self._end == 0:
            self.write(self._header)

    def write(self, cells: Sequence[object]) -> None:
        """Append a row."""
        self._writer.writerow(cells)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_header(self) -> int:
        """Return the number of bytes of the header, 0 if the file is new or ends within it."""
        if not self._path.exists():
            return 0
        first = next(read_whole_rows(self._path), None)
        if first is not None and first[0] == self._header:
            return first[1]
        if first is None and self._is_torn_header():
            return 0
        raise InvalidArgumentError(
            f"output: {self._path} has other columns than this input and these arguments give; choose another file"
        )

    def _is_torn_header(self) -> bool:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(self._header)
        return line.getvalue().encode().startswith(self._path.read_bytes())

    def _records(self) -> Iterator[tuple[list[str], int]]:
        if self._end:
            records = read_whole_rows(self._path)
            next(records)
            yield from records


def read_whole_rows(path: Path) -> Iterator[tuple[list[str], int]]:
    """Yield each whole row of a file that `CsvOutput` wrote, with the bytes up to its end; not a torn one at the end.

    Raises:
        InvalidArgumentError: it is no such file.
    """
    end = 0

    def read_lines() -> Iterator[str]:
        nonlocal end
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                yield line.decode()

    with path.open("rb") as file:
        try:
            for cells in csv.reader(read_lines(), strict=True):
                yield cells, end
        except (csv.Error, UnicodeDecodeError) as error:
            if "unexpected end" not in str(error):  # within the quotes of a torn row
                raise InvalidArgumentError(f"output: {path} is no CSV file of this command: {error}") from error
