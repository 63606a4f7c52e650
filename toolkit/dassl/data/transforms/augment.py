"""Augmentations that torchvision lacks in this form."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor


class RandomTranslation:
    """With probability ``p`` resize to 9/8 of ``size`` and crop at random, else only
    resize. PIL -> PIL.
    """

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
        (height, width), (most_height, most_width) = self.size, self.enlarged
        left = round(random.uniform(0, most_width - width))
        top = round(random.uniform(0, most_height - height))
        box = (left, top, left + width, top + height)
        return self.enlarge(image).crop(box)


class RandomMagnitudeAugment:
    """RandAugment with a magnitude sampled for each of ``n`` operations, each applied
    with probability ``p``.
    """

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
    """Set ``n_holes`` squares of side ``length`` pixels around random centres to 0.

    Tensor (C, H, W) -> same.
    """

    def __init__(self, n_holes: int = 1, length: int = 16):
        self.n_holes = n_holes
        self.length = length

    def __call__(self, image: Tensor) -> Tensor:
        image = image.clone()
        height, width = image.shape[-2:]
        half = self.length // 2
        for _ in range(self.n_holes):
            row, column = np.random.randint(height), np.random.randint(width)
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
    """Zero mean and unit deviation for each channel of each image.

    Tensor (C, H, W) -> same.
    """

    def __init__(self, eps: float = 1e-8):
        self.eps = eps

    def __call__(self, image: Tensor) -> Tensor:
        from torchvision.transforms.functional import normalize

        flat = image.flatten(1)
        std = flat.std(dim=1) + self.eps
        return normalize(image, flat.mean(dim=1).tolist(), std.tolist())
