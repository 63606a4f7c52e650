"""Features of a frozen image tower: computed once a process, found by content."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.utils.data import Subset

from datasets.multitask import MultitaskDataset
from prompting.backbones.backbone import Backbone
from prompting.backbones.loading import load_backbone
from prompting.model import PromptedCLIP
from prompting.shape import clip_shape
from trainers.engine import distributed

from . import fingerprints
from .disk_cache import FeatureCache
from .extraction import EncoderSettings, encode_images
from .loaders import View

log = logging.getLogger(__name__)

LAYOUT = 3  # to be raised when features are computed or kept in another way


@dataclass
class LoadedBackbone(Backbone):
    """A backbone on a device, shared by all jobs of this process, with the image
    features (n, d) that it gave so far, by the fingerprint of their source.
    """

    device: str = "cpu"
    features: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def tower_fingerprint(self) -> str:
        """Return the fingerprint of the image tower's tensors and structure."""
        return fingerprints.of_tower(self.clip.visual)


@lru_cache(maxsize=2)
def get_backbone(name: str, pretrained: str, device: str) -> LoadedBackbone:
    """Return a backbone; a second call with the same arguments returns the same object.
    Random numbers that loading draws are given back: a first run is like others.
    """
    with torch.random.fork_rng(devices=[]):
        backbone = load_backbone(name, pretrained or None, device)
    log.info(
        "backbone %s on %s, %d px", backbone.name, device, backbone.preprocessing.size
    )
    # not vars(): they may hold properties that were computed before
    parts = {part.name: getattr(backbone, part.name) for part in fields(backbone)}
    return LoadedBackbone(**parts, device=device)


@dataclass(eq=False)
class FeatureStore:
    """Image features without a prompt, of images without a random transform, encoded
    when they are in neither the backbone's memory nor `cache`. Files of the same
    content, prepared and encoded alike, have the same features.
    """

    backbone: LoadedBackbone
    settings: EncoderSettings
    cache: FeatureCache | None = None

    def __post_init__(self) -> None:
        self.encoder = PromptedCLIP(self.backbone.clip, None, self.backbone.tokenizer)

    def features(self, dataset: MultitaskDataset, in_files: bool = True) -> Tensor:
        """Return the features (N, d) of all images, in order; see `LazyFeatures`."""
        return LazyFeatures(self, dataset, in_files).all()

    def views(self, dataset: MultitaskDataset, count: int, seed: int) -> Tensor:
        """Return features (count, N, d) of augmented views; they are not kept."""
        features = []
        for number in range(count):
            view = View(dataset, number, seed)
            features += encode_images([self.encoder], view, self.settings)
        return torch.stack(features)

    def of_task(
        self,
        dataset: MultitaskDataset,
        task: int,
        in_files: bool = True,
        prompted: Sequence[PromptedCLIP] = (),
    ) -> tuple[Tensor, list[Tensor]]:
        """Return features (n, d) of a task, and of `prompted` models, in one pass."""
        images = Subset(dataset, dataset.rows(task))
        label, fingerprint = self._entry(dataset, task)
        known = self.backbone.features
        if fingerprint not in known:
            found = None
            if in_files and self.cache:
                dim = clip_shape(self.backbone.clip).embed_dim
                found = self.cache.load(label, fingerprint, (len(images), dim))
            if distributed.everywhere(found is not None):
                known[fingerprint] = found.to(self.settings.device)
        if fingerprint in known:
            others = encode_images(prompted, images, self.settings)
            return known[fingerprint], others
        features, *others = encode_images(
            [self.encoder, *prompted], images, self.settings
        )
        if in_files and self.cache and distributed.main():
            self.cache.save(label, fingerprint, features)
        known[fingerprint] = features
        return features, others

    def has_features(self, dataset: MultitaskDataset, task: int) -> bool:
        """Return True if the features of a task are in memory or in a file."""
        label, fingerprint = self._entry(dataset, task)
        if fingerprint in self.backbone.features:
            return True
        return self.cache is not None and self.cache.path(label, fingerprint).is_file()

    def _entry(self, dataset: MultitaskDataset, task: int) -> tuple[str, str]:
        """Return a label, and a fingerprint of all that the features depend on."""
        rows, settings = dataset.rows(task), self.settings
        samples = dataset.samples[rows.start : rows.stop]
        crop = dataset.crop or dataset.tasks[task].crop
        gpu = torch.cuda.get_device_name() if settings.device == "cuda" else ""
        fingerprint = fingerprints.of_text(
            LAYOUT,
            self.backbone.tower_fingerprint,
            (dataset.size, dataset.interpolation, crop, dataset.background),
            (dataset.mean, dataset.std),
            (str(settings.precision), settings.batch_size),
            (torch.__version__, settings.device, gpu),
            fingerprints.of_images(samples),
        )
        return f"{dataset.names[task]}-{dataset.split}", fingerprint


class LazyFeatures:
    """Features (N, d) of a dataset: `features[[3, 1]]` gives two, (2, d); those of a
    task are computed when one is asked for. in_files: keep them in the disk cache.
    Raises ValueError for images with a random transform.
    """

    def __init__(
        self, store: FeatureStore, dataset: MultitaskDataset, in_files: bool = True
    ) -> None:
        if dataset.transform is not None:
            raise ValueError("images with a random transform have no constant features")
        self._store, self._dataset, self._in_files = store, dataset, in_files
        self._parts: dict[int, Tensor] = {}
        # tasks whose features are not in `_all`
        self._missing = torch.tensor(dataset.sizes) > 0
        self._all: Tensor | None = None

    def __getitem__(self, rows: list[int]) -> Tensor:
        self._place(self._dataset.owners[rows])
        return self._all[rows]

    def all(self) -> Tensor:
        """Return all features (N, d)."""
        self._place(torch.arange(len(self._missing)))
        return self._all

    def of_task(self, task: int) -> Tensor:
        """Return features (n, d) of a task."""
        if task not in self._parts:
            given = (self._dataset, task, self._in_files)
            self._parts[task], _ = self._store.of_task(*given)
        return self._parts[task]

    def _place(self, tasks: Tensor) -> None:
        """Put the features of tasks into `_all`, those that are missing there."""
        for task in tasks[self._missing[tasks]].unique().tolist():
            part = self.of_task(task)
            rows = self._dataset.rows(task)
            if len(part) == len(self._dataset):  # no copy
                self._all = part
            else:
                if self._all is None:
                    self._all = part.new_empty(len(self._dataset), part.shape[1])
                self._all[rows.start : rows.stop] = part
            self._missing[task] = False
