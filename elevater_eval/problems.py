"""What may be wrong with a prediction file or a submission, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Problem:
    """One finding: ``level`` is "error" or "warning", ``where`` names the file and, where it applies, task and seed."""

    level: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message}"


class InvalidSubmissionError(ValueError):
    """Raised when prediction files cannot be used; ``problems`` holds every finding."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.level == ERROR]
