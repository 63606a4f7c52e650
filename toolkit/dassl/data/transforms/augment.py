"""Augmentations that torchvision lacks in this form."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor


class RandomTranslation:
    """Resize PIL images; with probability ``p`` to 9/8, and crop at random."""

    def __init__(self, size: tuple[int, int], p: float = 0.5):
        from torchvision import transforms as T

        self.p = p
        self.size = size
        self.enlarged = [round(side * 1.125) for side in size]
        self.resize = T.Resize(size)
        self.enlarge = T.Resize(self.enlarged)

    def __call__(self, image):
        if random.uniform(0, 1) > self.p:
            return self.resize(image)
        height, width = self.size
        most_height, most_width = self.enlarged
        left = round(random.uniform(0, most_width - width))
        top = round(random.uniform(0, most_height - height))
        box = (left, top, left + width, top + height)
        return self.enlarge(image).crop(box)


class RandomMagnitudeAugment:
    """RandAugment with a random magnitude of each of ``n`` operations."""

    def __init__(self, n: int = 2, p: float = 0.5):
        from torchvision import transforms as T

        self.n = n
        self.p = p
        self.operations = [T.RandAugment(1, magnitude) for magnitude in range(1, 31)]

    def __call__(self, image):
        for _ in range(self.n):
            if random.random() < self.p:
                image = random.choice(self.operations)(image)
        return image


class Cutout:
    """Set squares of side ``length`` pixels to 0. Tensor (C, H, W) -> same."""

    def __init__(self, n_holes: int = 1, length: int = 16):
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: Tensor) -> Tensor:
        image = image.clone()
        height, width = image.shape[-2:]
        half = self.length // 2
        for _ in range(self.n_holes):
            row = np.random.randint(height)
            column = np.random.randint(width)
            rows = slice(max(row - half, 0), row + half)
            columns = slice(max(column - half, 0), column + half)
            image[..., rows, columns] = 0.0
        return image


class GaussianNoise:
    """With probability ``p`` add normal noise. Tensor (C, H, W) -> same."""

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5):
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, image: Tensor) -> Tensor:
        if random.random() < self.p:
            return image + torch.randn_like(image) * self.std + self.mean
        return image


class InstanceNormalize:
    """Zero mean and unit deviation of each channel. Tensor (C, H, W) -> same."""

    def __init__(self, eps: float = 1e-8):
        self.eps = eps

    def __call__(self, image: Tensor) -> Tensor:
        from torchvision.transforms.functional import normalize

        flat = image.flatten(1)
        std = flat.std(dim=1) + self.eps
        return normalize(image, flat.mean(dim=1).tolist(), std.tolist())
