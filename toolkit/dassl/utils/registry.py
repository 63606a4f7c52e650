"""Name -> class, filled by decorators."""

from collections.abc import Callable
from typing import Any


class Registry:
    """A named mapping from ``__name__`` to class or function.

    ``@REGISTRY.register()`` registers what it decorates, ``REGISTRY.register(obj)`` an object at hand.
    """

    def __init__(self, name: str):
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Callable | None:
        """Register under ``obj.__name__``; ``force`` replaces an entry of that name.

        Raises:
            KeyError: the name is taken.
        """
        if obj is not None:
            self._register(obj, force)
            return None

        def decorate(target):
            self._register(target, force)
            return target

        return decorate

    def _register(self, obj: Any, force: bool) -> None:
        name = obj.__name__
        if name in self._obj_map and not force:
            raise KeyError(f"{name} is already registered in {self._name} (by {self._obj_map[name].__module__})")
        self._obj_map[name] = obj

    def get(self, name: str) -> Any:
        """The entry called ``name``.

        Raises:
            KeyError: no such entry.
        """
        if name not in self._obj_map:
            raise KeyError(f"{name} is not registered in {self._name}")
        return self._obj_map[name]

    def registered_names(self) -> list[str]:
        """Names in order of registration."""
        return list(self._obj_map)
