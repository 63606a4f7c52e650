"""Name -> class, filled by decorators."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from .tools import check_availability

logger = logging.getLogger(__name__)


class Registry:
    """A named mapping from ``__name__`` to class or function: ``@REGISTRY.register()``
    registers the decorated one, ``REGISTRY.register(obj)`` an existing one.
    """

    def __init__(self, name: str):
        self._name = name
        self._obj_map: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False) -> Callable | None:
        """Register under ``obj.__name__``. Raise KeyError if it is taken, unless `force`."""
        if obj is None:
            return functools.partial(self._register, force=force)
        self._register(obj, force)
        return None

    def _register(self, obj: Any, force: bool) -> Any:
        name = obj.__name__
        if name in self._obj_map and not force:
            raise KeyError(
                f"{name} is already registered in {self._name} (by {self._obj_map[name].__module__})"
            )
        self._obj_map[name] = obj
        return obj

    def get(self, name: str) -> Any:
        """Return the entry called `name`. Raises KeyError if there is none."""
        if name not in self._obj_map:
            raise KeyError(f"{name} is not registered in {self._name}")
        return self._obj_map[name]

    def registered_names(self) -> list[str]:
        """Return the names in order of registration."""
        return list(self._obj_map)

    def build(self, name: str, label: str, verbose: bool, *args, **kwargs) -> Any:
        """Return the object registered as `name`, constructed with the other arguments;
        log "label: name" if `verbose`. Raise ValueError naming the nearest if none is.
        """
        check_availability(name, self.registered_names())
        if verbose:
            logger.info("%s: %s", label, name)
        return self.get(name)(*args, **kwargs)
