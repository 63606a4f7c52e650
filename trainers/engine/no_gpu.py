"""Runs of third-party trainers that ask for a GPU on a machine without one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from operator import is_not
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

log = logging.getLogger(__name__)


@contextlib.contextmanager
def kept_on_cpu() -> Iterator[None]:
    """Let `.cuda()`, `.to("cuda")` and `device="cuda"` keep tensors on the CPU, and
    `.half()` keep float32, if there is no GPU; else change nothing.

    The log names the first call. Autocast and GradScaler switch themselves off.
    """
    if torch.cuda.is_available():
        yield
        return
    with _KeptOnCPU():
        yield


class _KeptOnCPU(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self._logged: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.device:  # only a name, which a data loader makes too
            return func(*args, **kwargs)
        if func is Tensor.cuda:
            self._note(".cuda()", "keeps tensors on the CPU")
            return _copied(args[0])
        if func is Tensor.half:
            func, args = Tensor.to, (args[0], torch.float16)
        new_args = [self._replaced(func, value) for value in args]
        new_kwargs = {key: self._replaced(func, kwargs[key]) for key in kwargs}
        result = func(*new_args, **new_kwargs)
        old, new = [*args, *kwargs.values()], [*new_args, *new_kwargs.values()]
        if func is Tensor.to and result is args[0] and any(map(is_not, old, new)):
            return _copied(result)
        return result

    def _replaced(self, func: Any, value: Any) -> Any:
        """Return the CPU for a GPU, float32 for float16 in a conversion, and any other
        value itself.
        """
        name = getattr(func, "__name__", "")
        if isinstance(value, (str, torch.device)) and str(value).startswith("cuda"):
            self._note(f"{name} with {str(value)!r}", "keeps tensors on the CPU")
            return "cpu"
        # a view, or an empty tensor for a file's content, needs its own type
        if value is torch.float16 and func in (Tensor.to, Tensor.type):
            self._note(".half()", "keeps float32, the precision on a CPU")
            return torch.float32
        return value

    def _note(self, call: str, effect: str) -> None:
        if effect not in self._logged:
            self._logged.add(effect)
            log.info("no GPU is available: %s %s", call, effect)


def _copied(tensor: Tensor) -> Tensor:
    """Return a tensor itself; of one that is trained a copy, which is no parameter, as
    after a move to a GPU.
    """
    if isinstance(tensor, nn.Parameter) or tensor.requires_grad:
        return tensor.clone()
    return tensor
