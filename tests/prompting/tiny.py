"""Two-layer random CLIP models, for tests that need a backbone and no knowledge."""

import open_clip
import torch
from torch import nn

VIT = {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}


def tiny_config(
    image: str = "vit", quick_gelu: bool = True, context_length: int = 77
) -> dict:
    """Return an open_clip configuration: 32 x 32 pixels, a text tower 32 wide with 2
    blocks of 4 heads, 16 features.
    """
    text = {
        "context_length": context_length,
        "vocab_size": 49408,
        "width": 32,
        "heads": 4,
        "layers": 2,
    }
    vision = dict(VIT if image == "vit" else RESNET)
    return {
        "embed_dim": 16,
        "quick_gelu": quick_gelu,
        "vision_cfg": vision,
        "text_cfg": text,
    }


def tiny_clip(
    image: str = "vit", seed: int = 0, quick_gelu: bool = True, context_length: int = 77
) -> nn.Module:
    """Return a random open_clip CLIP (image: "vit" or "resnet") in float32 and
    evaluation mode, without gradients.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = open_clip.CLIP(**tiny_config(image, quick_gelu, context_length))
        for name, parameter in clip.named_parameters():
            if name.endswith("in_proj_bias") or name.endswith(".bias") and "ln" in name:
                parameter.data.normal_(std=0.1)
        clip.token_embedding.weight.data.normal_(std=0.5)
        clip.positional_embedding.data.normal_(std=0.5)
    return clip.eval().requires_grad_(False)


def random_images(count: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Return images (count, 3, size, size), normalised."""
    return torch.randn(
        count, 3, size, size, generator=torch.Generator().manual_seed(seed)
    )
