"""Running averages for the training log."""

from collections import defaultdict
from collections.abc import Mapping

import torch


class AverageMeter:
    """Last value `val` and mean `avg` of a series; with `ema` a moving average from 0
    that weighs the past by 0.9.
    """

    def __init__(self, ema: bool = False):
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        """Forget the series."""
        self.val = self.avg = self.sum = 0.0
        self.count = 0

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        """Add `val`, the mean of `n` items."""
        self.val = val.item() if isinstance(val, torch.Tensor) else val
        self.sum += self.val * n
        self.count += n
        if self.ema:
            self.avg = 0.9 * self.avg + 0.1 * self.val
        else:
            self.avg = self.sum / self.count


class MetricMeter:
    """An `AverageMeter` for each name; `str()` is "name val (avg) name val (avg) ..."."""

    def __init__(self, delimiter: str = " "):
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: Mapping[str, float | torch.Tensor] | None) -> None:
        """Add one value to each named meter; None adds nothing."""
        if input_dict is None:
            return
        if not isinstance(input_dict, Mapping):
            raise TypeError(
                f"MetricMeter.update takes a dict of scalars, not {type(input_dict).__name__}"
            )
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        texts = [
            f"{name} {meter.val:.4f} ({meter.avg:.4f})"
            for name, meter in self.meters.items()
        ]
        return self.delimiter.join(texts)
