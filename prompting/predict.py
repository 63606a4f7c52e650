"""From a learnt prompt to predictions for images: the preprocessing and class names are those it was trained with.

predictor = prompting.load("output/run")
predictor.predict(["a.jpg", "b.jpg"])  # [[("cat", 0.97), ("dog", 0.03)], ...]
"""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from prompting.backbones.loading import Backbone, Preprocessing, differences, load_backbone
from prompting.checkpoints.prompt_files import load_prompts
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from toolkit.common.images import ImageSource, read_image

logger = logging.getLogger(__name__)

FILE = "prompts.safetensors"
MODES = ("squash", "crop")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
AHEAD = 2  # batches that are read while one is scored
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


class Predictor:
    """A prompt on its backbone. `metadata` is that of its file; its keys classes and preprocessing are used.

    classes: task -> class names in label order, of the tasks that the prompt was learnt on.
    preprocessing, mode: what images become; mode "squash" resizes both sides, "crop" the short one and cuts the centre.
    """

    def __init__(self, backbone: Backbone, prompt: Prompt, metadata: dict) -> None:
        self.model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).eval()
        self.metadata = metadata
        self.classes = _classes(metadata.get("classes") or {})
        own = backbone.preprocessing
        stored = {"size": own.size, "mean": own.mean, "std": own.std, "interpolation": own.interpolation}
        stored |= _preparation(metadata.get("preprocessing") or {})
        self.mode = stored.pop("crop", "squash")
        if self.mode not in MODES:
            raise ValueError(f"the prompt's preprocessing is {self.mode!r}; known are {', '.join(MODES)}")
        self.preprocessing = Preprocessing(**stored)
        other = differences(self.preprocessing.record(self.mode), own.record(self.mode))
        if self.preprocessing.size != own.size:
            raise ValueError(
                f"the prompt was learnt on {self.preprocessing.size} pixels; {backbone.name} takes {own.size}"
            )
        if other:
            logger.warning(
                "the prompt was learnt with another preprocessing than %s's, and keeps it: %s", backbone.name, other
            )

    def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch_size: int = 64,
    ) -> list[list[tuple[str, float]]]:
        """For each image the pairs (class name, probability), the most probable first.

        images: paths or PIL images, or a single one. classes: names to choose among, which need not be those of the
        training; by default those of `task`, which is needed only where the prompt was learnt on several tasks.

        Raises FileNotFoundError or ValueError naming an image that can't be read; ValueError where the classes are not
        known, or where the prompt holds a context for each of its own classes and others are asked for.
        """
        names, _ = self.choose(classes, task)
        ranked = self.probabilities(images, classes, task, batch_size).sort(dim=1, descending=True, stable=True)
        return [
            [(names[k], p) for k, p in zip(columns, values, strict=True)]
            for columns, values in zip(ranked.indices.tolist(), ranked.values.tolist(), strict=True)
        ]

    @torch.no_grad()
    def probabilities(
        self,
        images: ImageSource | Iterable[ImageSource],
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Probabilities (images, classes) in the order given, float32 on the CPU; arguments as in `predict`."""
        names, rows = self.choose(classes, task)
        device = self.model.clip.logit_scale.device
        contexts = self.model.contexts()
        texts = self.model.encode_classes(names, contexts=contexts, rows=None if rows is None else rows.to(device))
        parts = [torch.empty(0, len(names))]
        for pixels in self.prepared(images, batch_size):
            features = self.model.encode_images(pixels.to(device), contexts)
            parts.append(self.model.logits(features, texts).float().softmax(1).cpu())
        return torch.cat(parts)

    def prepared(self, images: ImageSource | Iterable[ImageSource], batch_size: int = 64) -> Iterator[Tensor]:
        """Batches (B, 3, S, S) of `prepare`; files are read by threads, two batches ahead of the one that is scored."""
        ahead: deque[list[Future[Tensor] | Tensor]] = deque()
        pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
        try:
            for batch in _batches(images, batch_size):
                ahead.append([self._later(pool, image) for image in batch])
                if len(ahead) > AHEAD:
                    yield _stack(ahead.popleft())
            while ahead:
                yield _stack(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _later(self, pool: ThreadPoolExecutor, image: ImageSource) -> Future[Tensor] | Tensor:
        """Opened images are prepared at once, as one of them must not be loaded by two threads."""
        return self.prepare(image) if isinstance(image, Image.Image) else pool.submit(self.prepare, image)

    def prepare(self, image: ImageSource) -> Tensor:
        """An image as the backbone takes it: upright, RGB, resized and normalised, (3, S, S)."""
        pre = self.preprocessing
        image, mode = read_image(image), InterpolationMode(pre.interpolation)
        if self.mode == "squash":
            image = F.resize(image, [pre.size, pre.size], mode)
        else:
            image = F.center_crop(F.resize(image, [pre.size], mode), [pre.size, pre.size])
        return F.normalize(F.to_tensor(image), pre.mean, pre.std)

    def choose(self, classes: Sequence[str] | None, task: str | None = None) -> tuple[list[str], Tensor | None]:
        """The class names to choose among and, for class-specific contexts, which of these belong to them."""
        if isinstance(classes, str):
            raise ValueError(f"classes must be a list of names, not {classes!r}")
        if task is not None and task not in self.classes:
            raise ValueError(
                f"the prompt was not learnt on a task {task!r}; it knows {', '.join(self.classes) or 'none'}"
            )
        if task is None and len(self.classes) > 1 and classes is None:
            known = ", ".join(self.classes)
            raise ValueError(f"the prompt was learnt on several tasks: choose one (--task) of {known}, or give classes")
        own = self.classes[task] if task else next(iter(self.classes.values()), [])
        names = list(own if classes is None else classes)
        if not names:
            raise ValueError("the prompt's file holds no class names; give the classes to choose among")
        text = self.model.contexts().text if self.model.has_text_prompt else None
        if text is None or text.dim() == 2:
            return names, None
        unknown = [name for name in names if name not in own]
        if unknown:
            raise ValueError(f"the prompt holds a context for each of its own classes; {unknown[0]!r} is none of them")
        return names, torch.tensor(list(range(len(own))) if classes is None else [own.index(name) for name in names])


def load(
    path: str | os.PathLike,
    backbone: str | None = None,
    pretrained: str | None = None,
    device: str | torch.device = "cpu",
) -> Predictor:
    """The prompt at `path`, a run's folder or its prompts.safetensors, on its backbone.

    backbone, pretrained: where the backbone came from a file, that file; by default what the prompt's file says.
    Raises FileNotFoundError or ValueError where the file, or its backbone, can't be had or do not fit.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / FILE
    prompt, metadata = load_prompts(path)
    name = backbone or metadata.get("backbone") or "pocket"
    weights = pretrained or (None if backbone else metadata.get("pretrained") or None)
    try:
        model = load_backbone(name, weights, device)
    except (FileNotFoundError, ValueError) as error:
        if backbone or pretrained:
            raise
        message = f"{path}: its backbone {name} can't be loaded ({error}); give its file as the backbone"
        raise (FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError)(message) from error
    try:
        return Predictor(model, prompt.to(device), metadata)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def find_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Files as they are, and of each folder all images below it, sorted. Raises FileNotFoundError naming a path."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            inside = [file for file in inside if not file.name.startswith(".")]
            if not inside:
                raise FileNotFoundError(f"no images in {path}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"no image {path}")
    return found


def _classes(value: object) -> dict[str, list[str]]:
    """What a file says of its classes, checked, as anyone may have written it."""
    lists = list(value.values()) if isinstance(value, dict) else [None]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise ValueError("its metadata 'classes' are no lists of names by task")
    return dict(value)


def _preparation(value: object) -> dict:
    """What a file says of its preprocessing, checked likewise."""
    kinds = {"size": int, "mean": list, "std": list, "interpolation": str, "crop": str}
    for key, own in value.items() if isinstance(value, dict) else [("preprocessing", value)]:
        numbers = own if isinstance(own, list) else [0.0] * 3
        right = len(numbers) == 3 and all(isinstance(number, (int, float)) for number in numbers)
        if not isinstance(own, kinds.get(key, ())) or not right:
            raise ValueError(f"its metadata 'preprocessing' can't be used: {key} is {str(own)[:40]!r}")
    if value.get("interpolation", "bicubic") not in INTERPOLATIONS:
        raise ValueError(f"its interpolation {value['interpolation'][:40]!r} is none of {', '.join(INTERPOLATIONS)}")
    return value


def _batches(images: ImageSource | Iterable[ImageSource], size: int) -> Iterator[list[ImageSource]]:
    if size < 1:
        raise ValueError(f"batch_size is {size}; it is at least 1")
    images = [images] if isinstance(images, (str, os.PathLike, Image.Image)) else list(images)
    return (images[start : start + size] for start in range(0, len(images), size))


def _stack(batch: Iterable[Future[Tensor] | Tensor]) -> Tensor:
    return torch.stack([item.result() if isinstance(item, Future) else item for item in batch])
