"""One run by several processes of torchrun; nothing else knows `torch.distributed`.
Each process takes its share of every training batch and of the images that are scored.
All hold the same prompt and the same features, so that all decide alike; the main
process alone writes files and logs. Without torchrun there is one process, and this
module costs and changes nothing.
"""

import atexit
import contextlib
import datetime
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Sampler

T = TypeVar("T")

# how long one waits for another, which may be packing a submission
PATIENCE = datetime.timedelta(hours=1)
CPU = torch.device("cpu")

_rank, _world = 0, 1
_store: dist.Store | None = None
# this process's own, which only the main process writes to as long as all goes well
_console = sys.stderr


def start() -> None:
    """Join the processes that torchrun started, if it did; a second call does nothing.
    From here on only the main process writes to stdout and stderr. Raises ValueError if
    a machine has GPUs, but fewer than processes.
    """
    global _rank, _world, _store, _console
    is_alone = int(os.environ.get("WORLD_SIZE", 1)) < 2
    if _store is not None or is_alone or "LOCAL_RANK" not in os.environ:
        return
    from torch.distributed.rendezvous import rendezvous

    _store, _rank, _world = next(rendezvous("env://"))
    _console = sys.stderr
    if _rank:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)
    backend = "gloo"
    if torch.cuda.is_available():
        here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        if here > torch.cuda.device_count():
            raise ValueError(
                f"--nproc-per-node is {here}, but there are {torch.cuda.device_count()} GPUs: start a process for each, "
                "or set CUDA_VISIBLE_DEVICES to nothing to train on the CPU"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(
        backend, store=_store, rank=_rank, world_size=_world, timeout=PATIENCE
    )
    atexit.register(dist.destroy_process_group)
    sys.excepthook = lambda *error: failed(
        "".join(traceback.format_exception(*error)), 1
    )


def world() -> int:
    """Return the number of processes."""
    return _world


def main() -> bool:
    """Return True in the process that writes files and logs."""
    return _rank == 0


def failed(message: str, code: int) -> int:
    """Write `message` to stderr and return the exit code.

    Of several processes one writes, the main one if all fail alike, and each ends here:
    the others may be waiting for it, until torchrun stops them.
    """
    if _world == 1:
        sys.stderr.write(message)
        return code
    if not main():
        time.sleep(1)
    try:
        is_first = _store.add("ended", 1) == 1
    except RuntimeError:  # whoever kept the store has ended before
        is_first = main()
    if is_first and message:
        # the main process may have a bar on the line
        _console.write(message if main() else f"\n{message}")
        _console.flush()
    sys.stdout.flush()
    os._exit(code)  # without waiting for others, as the end of a process group does


def barrier() -> None:
    """Wait until all processes are here."""
    everywhere(True)


def everywhere(here: bool) -> bool:
    """Return True if `here` is true in all processes."""
    if _world == 1:
        return here
    flag = torch.tensor(int(here))
    dist.all_reduce(flag, dist.ReduceOp.MIN)
    return bool(flag)


def from_main(make: Callable[[], T]) -> T:
    """Return the result of `make`, which only the main process calls."""
    if _world == 1:
        return make()
    box = [make() if main() else None]
    dist.broadcast_object_list(box, src=0, device=CPU)
    return box[0]


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Let the others run the block after the main process, unless that raises."""
    if not main():
        barrier()
    yield
    if main():
        barrier()
    barrier()


def check_same(module: nn.Module) -> None:
    """Raise RuntimeError if processes hold other parameters than the main one, as they
    do if a trainer steps by another loss than `share_training` returned.
    """
    if _world == 1:
        return
    total = sum(parameter.detach().double().sum() for parameter in module.parameters())
    most = torch.stack([total, -total])
    dist.all_reduce(most, dist.ReduceOp.MAX)
    if most[0] > -most[1]:
        raise RuntimeError(
            "the processes have learned different prompts: is forward_backward stepping by share_loss?"
        )


def same_randomness() -> None:
    """Give torch's generators the state of the main process: all sample one dropout."""
    if _world == 1:
        return
    torch.set_rng_state(from_main(torch.get_rng_state))
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(from_main(torch.cuda.get_rng_state))


def rows(total: int, step: int = 1, process: int | None = None) -> range:
    """Return neighbouring rows of `total` for a process, in whole batches of `step`."""
    process = _rank if process is None else process
    batches = -(-total // step)
    return range(total)[
        batches * process // _world * step : batches * (process + 1) // _world * step
    ]


def gather_rows(share: Tensor, total: int, step: int = 1) -> Tensor:
    """Return all rows (total, ...) in order, from each process's rows(total, step)."""
    if _world == 1:
        return share
    counts = [len(rows(total, step, process)) for process in range(_world)]
    padded = share.new_zeros(max(counts), *share.shape[1:])
    padded[: len(share)] = share
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def mean(values: Tensor) -> Tensor:
    """Return the mean over all processes of a tensor that each has."""
    if _world == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / _world


def share_training(
    sampler: Sampler[list[int]], prompt: nn.Module, loss: Callable[[dict], Tensor]
) -> tuple[Sampler[list[int]], Callable[[dict], Tensor]]:
    """Return a sampler of this process's shares of the batches, and the loss of a
    share: the mean of all processes' losses, and gradients, is that of `loss` (a mean
    over images) on whole batches. Each share must go through the loss, in order.
    """
    if _world == 1:
        return sampler, loss
    shares = Shares(sampler)
    return shares, DistributedDataParallel(_ShareLoss(prompt, loss, shares))


class Shares(Sampler[list[int]]):
    """The share of this process in each batch of `sampler`, positions sorted first, so
    that a share is of few tasks. weights: of the shares not yet used; with them the
    mean over processes is that over the images. If a batch has fewer images than there
    are processes, some take one of another's, with weight 0.
    """

    def __init__(self, sampler: Sampler[list[int]]):
        self.sampler = sampler
        self.weights: deque[float] = deque()

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[list[int]]:
        self.weights.clear()
        for batch in self.sampler:
            batch = sorted(batch)
            share = rows(len(batch))
            weight = len(share) * _world / len(batch)
            self.weights.append(weight)
            yield [batch[row] for row in share] or batch[:1]


class _ShareLoss(nn.Module):
    """The weighted loss of a share; gradients of this module are averaged."""

    def __init__(
        self, prompt: nn.Module, loss: Callable[[dict], Tensor], shares: Shares
    ) -> None:
        super().__init__()
        self.prompt, self._loss, self._weights = prompt, loss, shares.weights

    def forward(self, batch: dict) -> Tensor:
        return self._loss(batch) * self._weights.popleft()
