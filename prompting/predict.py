"""From a learned prompt to predictions for images: the preprocessing and class names
are those it was trained with.

predictor = prompting.load("output/run")
predictor.predict(["a.jpg", "b.jpg"])  # [[("cat", 0.97), ("dog", 0.03)], ...]
"""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from prompting import hub
from prompting.backbones.backbone import Backbone, Preprocessing, differences
from prompting.backbones.loading import load_backbone
from prompting.checkpoints.prompt_files import load_prompts
from prompting.memory import MAX_CLASS_FEATURES, LRUCache
from prompting.model import TEMPLATE, PromptedCLIP
from prompting.prompts import Contexts, Prompt
from toolkit.common.class_names import require_distinct
from toolkit.common.image_files import find_image_files
from toolkit.common.images import (
    BACKGROUNDS,
    INTERPOLATIONS,
    MODES,
    ImageSource,
    normalize,
    read_image,
    resize,
)
from toolkit.common.text import naming

logger = logging.getLogger(__name__)

BATCHES_AHEAD = 2  # read while one is scored
PREPROCESSING_TYPES = {
    "size": int,
    "mean": list,
    "std": list,
    "interpolation": str,
    "crop": str,
    "background": str,
}


class Predictor:
    """A prompt on its backbone. classes: task -> class names in label order, of the
    training. preprocessing, mode: "squash" resizes both sides of an image, "crop" the
    short one and cuts the centre. force: accept class names with words that the
    backbone does not know, with a warning.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompt: Prompt | None,
        metadata: dict,
        force: bool = False,
    ) -> None:
        template = metadata.get("template") or TEMPLATE
        if not isinstance(template, str):
            raise ValueError(f"its 'template' is no text: {str(template)[:40]!r}")
        self.model = PromptedCLIP(
            backbone.clip, prompt, backbone.tokenizer, template
        ).eval()
        self._contexts: Contexts | None = None
        self._class_features: LRUCache[Tensor] = LRUCache(MAX_CLASS_FEATURES)
        self.backbone, self.force = backbone, force
        self._checked: list[str] = []  # the class names whose words were checked last
        self.metadata = metadata
        self.classes = _checked_classes(metadata.get("classes") or {})
        stored = _checked_preprocessing(metadata.get("preprocessing") or {})
        self.mode = stored.pop("crop", "squash")
        if self.mode not in MODES:
            raise ValueError(
                f"the prompt's preprocessing is {self.mode!r}; known are {', '.join(MODES)}"
            )
        default = backbone.preprocessing
        # of a version that dropped transparency
        if metadata.get("preprocessing") and "background" not in stored:
            stored["background"] = "none"
            default = replace(default, background="none")
        self.preprocessing = Preprocessing(**(vars(default) | stored))
        if self.preprocessing.size != default.size:
            raise ValueError(
                f"the prompt was learned on {self.preprocessing.size} pixels; {backbone.name} takes {default.size}"
            )
        stored = self.preprocessing.record(self.mode)
        other = differences(stored, default.record(self.mode))
        if other:
            logger.warning(
                "the prompt was learned with another preprocessing than %s's, and keeps it: %s",
                backbone.name,
                other,
            )

    def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch_size: int = 64,
        errors: dict[int, Exception] | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Return for each image the pairs (class name, probability), the most probable
        first.

        images: paths or PIL images, or one. classes: names to choose among, by default
        those of `task`, which is needed if the prompt was trained on several or is made
        from a task's name. errors: takes the error of an image that can't be read, by
        its position; it has no pairs. Raises FileNotFoundError or ValueError naming an
        image that can't be read; ValueError if the classes are not known or not the
        prompt's own.
        """
        names, _ = self.choose_classes(classes, task)
        table = self.probabilities(images, classes, task, batch_size, errors)
        ranked = table.sort(dim=1, descending=True, stable=True)
        predictions = []
        for columns, values in zip(ranked.indices, ranked.values, strict=True):
            ordered = [names[column] for column in columns.tolist()]
            predictions.append(list(zip(ordered, values.tolist(), strict=True)))
        for position in sorted(errors or ()):
            predictions.insert(position, [])
        return predictions

    @torch.no_grad()
    def probabilities(
        self,
        images: ImageSource | Iterable[ImageSource],
        classes: Sequence[str] | None = None,
        task: str | None = None,
        batch_size: int = 64,
        errors: dict[int, Exception] | None = None,
    ) -> Tensor:
        """Return probabilities (images, classes) in the order given, float32 on the
        CPU; arguments as in `predict`. Images that are put into `errors` have no row.
        """
        class_features = self.class_features(classes, task)
        parts = [torch.empty(0, len(class_features))]
        for pixels in self.prepared(images, batch_size, errors):
            pixels = pixels.to(class_features.device)
            image_features = self.model.encode_images(pixels, self._contexts)
            logits = self.model.logits(image_features, class_features)
            parts.append(logits.float().softmax(1).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def class_features(
        self, classes: Sequence[str] | None = None, task: str | None = None
    ) -> Tensor:
        """Return unit-length features (C, d) of the classes on the model's device; they
        are computed once and kept. The prompt must not be changed between calls.
        """
        names, rows = self.choose_classes(classes, task)
        device = self.model.clip.logit_scale.device
        if self._contexts is None:
            self._contexts = self.model.contexts()
        if rows is not None:
            rows = rows.to(device)

        def encode() -> Tensor:
            texts = names, self.templates(task)
            name = self.task_name(task)
            return self.model.encode_classes(*texts, self._contexts, rows, task=name)

        return self._class_features.get((task, tuple(names)), len(names), encode)

    def prepared(
        self,
        images: ImageSource | Iterable[ImageSource],
        batch_size: int = 64,
        errors: dict[int, Exception] | None = None,
    ) -> Iterator[Tensor]:
        """Yield batches (B, 3, S, S) of `prepare`; threads read two batches ahead of
        the one that is scored. errors: takes the errors of images that can't be read by
        their positions; they are left out of their batches.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it is at least 1")
        if isinstance(images, ImageSource):
            images = [images]
        images = list(images)
        ahead: deque[tuple[list[Future[Tensor]], int]] = deque()
        pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1))
        try:
            for start in range(0, len(images), batch_size):
                batch = images[start : start + batch_size]
                futures = [self._submit(pool, image) for image in batch]
                ahead.append((futures, start))
                if len(ahead) > BATCHES_AHEAD:
                    yield from _stack(*ahead.popleft(), errors)
            while ahead:
                yield from _stack(*ahead.popleft(), errors)
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, pool: ThreadPoolExecutor, image: ImageSource) -> Future[Tensor]:
        """Prepare a file in the pool, an opened image at once: threads must not share it."""
        if not isinstance(image, Image.Image):
            return pool.submit(self.prepare, image)
        done: Future[Tensor] = Future()
        try:
            done.set_result(self.prepare(image))
        except (OSError, ValueError) as error:
            done.set_exception(error)
        return done

    def prepare(self, image: ImageSource) -> Tensor:
        """Return an image (3, S, S): upright, RGB, resized and normalised."""
        to = self.preprocessing
        opened = read_image(image, to.background)
        resized = resize(opened, to.size, self.mode, to.interpolation)
        return normalize(resized, to.mean, to.std)

    def choose_classes(
        self, classes: Sequence[str] | None, task: str | None = None
    ) -> tuple[list[str], Tensor | None]:
        """Return the class names to choose among and, for class-specific contexts,
        their rows. Raises ValueError for names that are not known or have unknown
        words.
        """
        if isinstance(classes, str):
            raise ValueError(f"classes must be a list of names, not {classes!r}")
        trained = self._trained_classes(task, needed=classes is None)
        names = trained if classes is None else list(classes)
        if not names:
            raise ValueError(
                "the prompt's file holds no class names; give the classes to choose among"
            )
        if names != self._checked:  # as CLIP reads them; trained ones were accepted
            if names != trained:
                require_distinct(names, "classes")
            force = self.force or names == trained
            self.backbone.check_classes(names, force=force)
            self._checked = list(names)
        if not self.model.has_class_contexts:
            return names, None
        if classes is None:
            return names, torch.arange(len(names))
        for name in names:
            if name not in trained:
                raise ValueError(
                    f"the prompt has parameters for each of its own classes; {name!r} is none of them"
                )
        return names, torch.tensor([trained.index(name) for name in names])

    def templates(self, task: str | None = None) -> list[str] | None:
        """Return the templates of a task of the training, by default of the only one;
        None if the prompt uses none.
        """
        known = self.metadata.get("templates")
        prompt = self.model.prompt
        if prompt is None or not prompt.task_templates or not isinstance(known, dict):
            return None
        return known.get(self.task_name(task))

    def task_name(self, task: str | None = None) -> str | None:
        """Return the task, by default the only one of the training, or None."""
        if task is None and len(self.classes) == 1:
            return next(iter(self.classes))
        return task

    def _trained_classes(self, task: str | None, needed: bool) -> list[str]:
        """Return the classes of a task of the training, by default of the only one."""
        known = ", ".join(self.classes) or "none"
        needs_task = self.model.needs_task
        if task is not None:
            if task not in self.classes:
                if needs_task and not needed:
                    return []
                raise ValueError(
                    f"the prompt was not learned on a task {task!r}; it knows {known}"
                )
            return list(self.classes[task])
        if len(self.classes) > 1 and (needed or needs_task):
            choices = f"choose one (--task) of {known}"
            if not needs_task:
                choices += ", or give classes"
            raise ValueError(f"the prompt was learned on several tasks: {choices}")
        return list(next(iter(self.classes.values()), []))


def load(
    path: str | os.PathLike,
    backbone: str | None = None,
    pretrained: str | None = None,
    device: str | torch.device = "cpu",
    force: bool = False,
) -> Predictor:
    """Return a predictor for the prompt at `path`, a run's folder or its
    prompts.safetensors, or hf:USER/NAME on the Hub. backbone, pretrained: by default as
    its file states. force: accept class names with unknown words. Raises
    FileNotFoundError or ValueError if a file is not available or does not fit.
    """
    if str(path).startswith(hub.PREFIX):
        path = hub.download(str(path))
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / hub.FILE
    prompt, metadata = load_prompts(path)
    if backbone or pretrained:
        name = backbone or metadata.get("backbone") or "pocket"
        model = load_backbone(name, pretrained, device)
    else:
        model = _load_stored_backbone(path, metadata, device)
    model.check_record(metadata, str(path))
    with naming(path):
        return Predictor(model, prompt.to(device), metadata, force)


def load_zero_shot(
    backbone: str = "pocket",
    pretrained: str | None = None,
    template: str = TEMPLATE,
    device: str | torch.device = "cpu",
    force: bool = False,
) -> Predictor:
    """Return a predictor without a prompt: plain CLIP, with its preprocessing (the
    centre of an image is cut out). template: the sentence around class names, which
    stand for its "{}". Other arguments as in `load`.
    """
    model = load_backbone(backbone, pretrained, device)
    preprocessing = model.preprocessing.record("crop")
    metadata = {"template": template, "preprocessing": preprocessing}
    return Predictor(model, None, metadata, force)


def find_images(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Return files as they are, and of each folder all images below it, sorted. Raises
    FileNotFoundError naming a path.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside, _ = find_image_files(path)
            if not inside:
                raise FileNotFoundError(f"no images in {path}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"no image {path}")
    return found


def _load_stored_backbone(path: Path, metadata: dict, device: str | torch.device):
    name = str(metadata.get("backbone") or "pocket")
    if metadata.get("backbone_is_path"):
        if not Path(name).exists():
            raise FileNotFoundError(
                f"{path}: its backbone is a file or folder called {name}: give it with --backbone PATH"
            )
        name = os.path.abspath(name)  # never a known model that is called like it
    pretrained = str(metadata.get("pretrained") or "") or None
    is_path = metadata.get("pretrained_is_path")
    if pretrained and is_path and not Path(pretrained).is_file():
        raise FileNotFoundError(
            f"{path}: the weights of its backbone {name} are a file called {pretrained}: give it with --pretrained PATH"
        )
    try:
        return load_backbone(name, pretrained, device)
    except (FileNotFoundError, ValueError) as error:
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(
            f"{path}: its backbone {name} can't be loaded ({error}); give its file as the backbone"
        ) from error


def _checked_classes(value: object) -> dict[str, list[str]]:
    """Return the classes of an untrusted file, lists of names by task."""
    message = "its metadata 'classes' are no lists of names by task"
    if not isinstance(value, dict):
        raise ValueError(message)
    for names in value.values():
        if not isinstance(names, list) or set(map(type, names)) - {str}:
            raise ValueError(message)
    return dict(value)


def _checked_preprocessing(value: object) -> dict:
    """Return the preprocessing of an untrusted file; ValueError names a wrong key."""
    if not isinstance(value, dict):
        value = {"preprocessing": value}
    for key, setting in value.items():
        right = isinstance(setting, PREPROCESSING_TYPES.get(key, ()))
        if right and isinstance(setting, list):
            numbers = [number for number in setting if isinstance(number, int | float)]
            right = len(numbers) == len(setting) == 3
        if not right:
            raise ValueError(
                f"its metadata 'preprocessing' can't be used: {key} is {str(setting)[:40]!r}"
            )
    known = {"interpolation": INTERPOLATIONS, "background": BACKGROUNDS}
    for key, choices in known.items():
        chosen = value.get(key)
        if isinstance(chosen, str) and chosen not in choices:
            raise ValueError(
                f"its {key} {chosen[:40]!r} is none of {', '.join(choices)}"
            )
    return dict(value)


def _stack(
    batch: list[Future[Tensor]], start: int, errors: dict[int, Exception] | None
) -> Iterator[Tensor]:
    """Yield a batch, unless none of its images could be read."""
    ready = []
    for position, image in enumerate(batch, start):
        try:
            ready.append(image.result())
        except (OSError, ValueError) as error:
            if errors is None:
                raise
            errors[position] = error
    if ready:
        yield torch.stack(ready)
