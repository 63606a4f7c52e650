"""Items that belong together."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return key -> its items, keys in order of their first item."""
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
