"""Augmentations that torchvision lacks in this form."""

import random

import torch
from torch import Tensor
from torchvision import transforms as T
from torchvision.transforms import functional as F


class RandomTranslation:
    """With probability ``p`` resize to 9/8 of ``size`` and crop at random, else only
    resize. PIL -> PIL.
    """

    def __init__(self, size: tuple[int, int], p: float = 0.5):
        self.p = p
        self.resize = T.Resize(size)
        self.enlarge = T.Resize([round(side * 1.125) for side in size])
        self.crop = T.RandomCrop(size)

    def __call__(self, image):
        if random.random() < self.p:
            return self.crop(self.enlarge(image))
        return self.resize(image)


class RandomMagnitudeAugment:
    """RandAugment with a magnitude sampled for each of ``n`` operations, each applied
    with probability ``p``.
    """

    def __init__(self, n: int = 2, p: float = 0.5):
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
        for _ in range(self.n_holes):
            top = random.randrange(height) - self.length // 2
            left = random.randrange(width) - self.length // 2
            rows = slice(max(top, 0), top + self.length)
            columns = slice(max(left, 0), left + self.length)
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
        flat = image.flatten(1)
        std = flat.std(dim=1) + self.eps
        return F.normalize(image, flat.mean(dim=1).tolist(), std.tolist())
