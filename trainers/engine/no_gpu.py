"""Runs of third-party trainers that ask for a GPU on a machine without one."""

import contextlib
import functools
import logging
import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

# functions of torch that take `device`; a TorchFunctionMode would catch all, but while
# one is active torch leaves out fused kernels, whose results differ in the last bits
FACTORIES = (
    *("arange", "as_tensor", "empty", "empty_like", "eye", "full", "full_like"),
    *("linspace", "ones", "ones_like", "rand", "rand_like", "randint", "randn"),
    *("randn_like", "randperm", "tensor", "zeros", "zeros_like"),
)
METHODS = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")
Note = Callable[[str, str], None]
KEPT, FLOAT32 = "keeps tensors on the CPU", "keeps float32, the precision on a CPU"


@contextlib.contextmanager
def kept_on_cpu() -> Iterator[None]:
    """Let `.cuda()`, `.to("cuda")` and `device="cuda"` keep tensors on the CPU, and
    `.half()` keep float32, if there is no GPU; else change nothing. The log names the
    first call. Autocast and GradScaler switch themselves off.
    """
    if torch.cuda.is_available():
        yield
        return
    noted: set[str] = set()

    def note(call: str, effect: str) -> None:
        if effect not in noted:
            noted.add(effect)
            log.info("no GPU is available: %s %s", call, effect)

    with contextlib.ExitStack() as stack:
        for name in (*FACTORIES, "load"):
            _replace(stack, torch, name, note)
        for name in METHODS:
            _replace(stack, Tensor, name, note)
        for name in ("to", "type"):
            _replace(stack, Tensor, name, note, converts=True)
        to = Tensor.to

        def cuda(tensor: Tensor, *_args: Any, **_options: Any) -> Tensor:
            note(".cuda()", KEPT)
            return _copied(tensor)

        def half(tensor: Tensor, **_options: Any) -> Tensor:
            return to(tensor, torch.float16)

        _set(stack, Tensor, "cuda", cuda)
        _set(stack, Tensor, "half", half)
        yield


def _set(stack: contextlib.ExitStack, owner: Any, name: str, value: Callable) -> None:
    """Set an attribute until the stack is left."""
    if name in vars(owner):
        stack.callback(setattr, owner, name, vars(owner)[name])
    else:
        stack.callback(delattr, owner, name)
    setattr(owner, name, value)


def _replace(
    stack: contextlib.ExitStack, owner: Any, name: str, note: Note, converts=False
) -> None:
    """Call a function or method with the CPU for a GPU and, if it `converts` tensors,
    float32 for float16.
    """
    function = getattr(owner, name)

    def replaced(value: Any) -> Any:
        if isinstance(value, (str, torch.device)) and str(value).startswith("cuda"):
            note(f"{name} with {str(value)!r}", KEPT)
            return "cpu"
        if converts and value is torch.float16:
            note(".half()", FLOAT32)
            return torch.float32
        return value

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        new_args = [replaced(value) for value in args]
        new_options = {key: replaced(value) for key, value in options.items()}
        result = function(*new_args, **new_options)
        old = [*args, *options.values()]
        new = [*new_args, *new_options.values()]
        is_changed = any(map(operator.is_not, old, new))
        if converts and is_changed and result is args[0]:
            return _copied(result)
        return result

    _set(stack, owner, name, call)


def _copied(tensor: Tensor) -> Tensor:
    """Return a tensor itself; of one that is trained a copy, which is no parameter, as
    after a move to a GPU.
    """
    if isinstance(tensor, nn.Parameter) or tensor.requires_grad:
        return tensor.clone()
    return tensor
