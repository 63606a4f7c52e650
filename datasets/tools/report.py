"""What an examination of a set's files found, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

ERROR, WARNING = "error", "warning"
SHOWN = 5  # findings of one kind in one file that are written out


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        level: "error" where the set cannot be used as it should be, else "warning".
        kind: a short fixed name, such as "label-range".
        where: the file below the data root and, where it applies, its line or member.
        message: what is wrong, in words.
    """

    level: str
    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message} [{self.kind}]"


@dataclass
class Report:
    """The state of one set.

    Attributes:
        status: "ok", "missing" (nothing is there) or "damaged" (there is an error).
        images: the images that each split's index lists.
    """

    name: str
    folder: str
    findings: list[Finding] = field(default_factory=list)
    images: dict[str, int] = field(default_factory=dict)
    missing: bool = False

    def error(self, kind: str, where: str, message: str) -> None:
        self.findings.append(Finding(ERROR, kind, where, message))

    def warn(self, kind: str, where: str, message: str) -> None:
        self.findings.append(Finding(WARNING, kind, where, message))

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == ERROR]

    @property
    def status(self) -> str:
        return "missing" if self.missing else "damaged" if self.errors else "ok"

    def to_dict(self) -> dict:
        """Plain JSON: name, folder, status, images, findings."""
        findings = [asdict(finding) for finding in self.findings]
        return {
            "name": self.name,
            "folder": self.folder,
            "status": self.status,
            "images": self.images,
            "findings": findings,
        }


def in_short(findings: Iterable[Finding], shown: int = SHOWN) -> list[str]:
    """The findings as lines of text; of many of one kind in one file, the first ones and the number of the others."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.where.partition(":")[0].partition("@")[0]), []).append(finding)
    lines = []
    for (kind, file), group in groups.items():
        lines += [str(finding) for finding in group[:shown]]
        if len(group) > shown:
            lines.append(f"{group[0].level}: {file}: and {len(group) - shown} more of this kind [{kind}]")
    return lines
