"""The known name that is nearest to a typed one."""

import difflib
from collections.abc import Iterable, Sequence


def nearest(
    name: object, known: Iterable[str], count: int = 1, cutoff: float = 0.0
) -> list[str]:
    """Return up to `count` names, nearest first, alike by `cutoff` (0 to 1)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(
        str(name).lower(), by_lower, n=count, cutoff=cutoff
    )
    return [by_lower[match] for match in matches]


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.0) -> str:
    """Return "did you mean 'x'?" with the nearest known name, or "" if there is none."""
    found = nearest(name, known, cutoff=cutoff)
    return f"did you mean {found[0]!r}?" if found else ""


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error about a name that is none of the known ones; `what` begins it."""
    return ValueError(f"{what} {name!r}; the nearest is {nearest(name, known)[0]!r}")


def check_availability(requested: str, available: Sequence[str]) -> None:
    """Raise ValueError, naming the nearest, if ``requested`` is not ``available``."""
    if requested not in available:
        message = f"{requested!r} is not one of [{', '.join(available)}]"
        hint = did_you_mean(requested, available)
        raise ValueError(f"{message}; {hint}" if hint else message)


def canonical(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that equals `name` in whatever case, or None."""
    for candidate in known:
        if candidate.lower() == name.lower():
            return candidate
    return None
