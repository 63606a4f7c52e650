"""Faults of a prediction file or a submission, as data."""

from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.common.text import printable

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True)
class Issue:
    """One finding: "error" or "warning", and the file, task and seed if it has them."""

    level: str
    where: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.level}: {self.where}: {self.message}")


Issues = list[Issue]


class InvalidSubmissionError(ValueError):
    """Prediction files cannot be used; `issues` (and `problems`) holds every finding."""

    def __init__(self, issues: Iterable[Issue]):
        self.issues = list(issues)
        super().__init__("\n".join(map(str, self.issues)))

    @property
    def problems(self) -> list[Issue]:
        """Return the findings, under the name that callers of earlier versions use."""
        return self.issues


def error(where: str, message: str) -> Issue:
    """Return a finding that makes a submission invalid."""
    return Issue(ERROR, where, message)


def errors(where: str, messages: Iterable[str]) -> Issues:
    """Return findings of one place that make a submission invalid."""
    return [error(where, message) for message in messages]


def errors_of(issues: Iterable[Issue]) -> Issues:
    """Return the findings of level "error"."""
    return [issue for issue in issues if issue.level == ERROR]


def raise_errors(issues: Iterable[Issue]) -> None:
    """Raise InvalidSubmissionError with the errors among the findings, if any."""
    errors = errors_of(issues)
    if errors:
        raise InvalidSubmissionError(errors)
