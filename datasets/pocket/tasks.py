"""The pocket tasks, registered under their names."""

from ..catalog.entries import entries
from ..coop import CoopTask, register_coop
from ..elevater import ElevaterTask, register_elevater
from .suite import ensure, home


class _InPocket:
    """A task in the pocket suite's folder; it is rendered when its folder is asked for."""

    def data_root(self, cfg) -> str:
        ensure(self.name)
        return str(home())


for _entry in entries().values():
    if _entry.suite == "pocket" and _entry.layout == "coop":
        register_coop(_entry, _InPocket, CoopTask)
    elif _entry.suite == "pocket":
        register_elevater(_entry, _InPocket, ElevaterTask)
