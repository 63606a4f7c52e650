"""The findings of an examination of a set's files, as data."""

from dataclasses import asdict, dataclass, field

SHOWN = 5  # findings of one kind in one file that are written out


@dataclass(frozen=True)
class Finding:
    """One finding."""

    level: str  # "error" if the set cannot be used as it should be, else "warning"
    kind: str  # a short fixed name, such as "label-range"
    where: str  # the file below the data root and, if it applies, its line or member
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.message} [{self.kind}]"


@dataclass
class Report:
    """The state of one set."""

    name: str
    folder: str
    findings: list[Finding] = field(default_factory=list)
    # split -> number of images that its index lists
    images: dict[str, int] = field(default_factory=dict)
    missing: bool = False  # nothing of the set is there

    def error(self, kind: str, where: str, message: str) -> None:
        """Add an error."""
        self.findings.append(Finding("error", kind, where, message))

    def warn(self, kind: str, where: str, message: str) -> None:
        """Add a warning."""
        self.findings.append(Finding("warning", kind, where, message))

    @property
    def errors(self) -> list[Finding]:
        """Return the findings that are errors."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def status(self) -> str:
        """Return "ok", "missing" (nothing is there) or "damaged" (there is an error)."""
        if self.missing:
            return "missing"
        return "damaged" if self.errors else "ok"

    def to_dict(self) -> dict:
        """Return plain JSON: name, folder, status, images, findings."""
        return {
            "name": self.name,
            "folder": self.folder,
            "status": self.status,
            "images": self.images,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def lines(self, shown: int = SHOWN) -> list[str]:
        """Return the findings as text, `shown` of a kind in a file."""
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            file = finding.where.partition(":")[0].partition("@")[0]
            groups.setdefault((finding.kind, file), []).append(finding)
        lines = []
        for (kind, file), group in groups.items():
            lines += [str(finding) for finding in group[:shown]]
            if len(group) > shown:
                more = f"and {len(group) - shown} more of this kind"
                lines.append(f"{group[0].level}: {file}: {more} [{kind}]")
        return lines


def join_images(images: dict[str, int]) -> str:
    """Return text such as "40 train, 10 test"."""
    return ", ".join(f"{count} {split}" for split, count in images.items())
