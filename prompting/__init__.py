"""Prompt learning for frozen CLIP models, in plain torch: backbones, prompt modules and
the prompted CLIP.

Nothing here knows a configuration system, a trainer or a dataset file.

    backbone = load_backbone("pocket")
    prompt = TextPrompt(n_ctx=16, width=clip_shape(backbone.clip).text_width)
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    logits = model(images, ["cat", "dog"])
"""

import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prompting.api import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """Return a public name; the first one imports torch and open_clip."""
        is_private = name.startswith("_") and name != "__all__"
        if is_private or importlib.util.find_spec(f"{__name__}.{name}"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from prompting import api

        return getattr(api, name)
