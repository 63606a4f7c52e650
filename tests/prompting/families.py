"""The table of backbones: a tiny random model of each family, through open_clip's own
configurations and timm's own entry points, and the prompts that fit it.

`PYTHONPATH=. python tests/prompting/families.py` writes it into docs/backbones.md.
"""

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from safetensors.torch import save_file
from timm.models import eva, fastvit, vision_transformer
from timm.models._registry import register_model
from torch import nn

from prompting import clip_shape
from prompting.backbones.architectures import unsupported_reason
from tests.prompting.tiny import tiny_config

DOCS = Path(__file__).resolve().parents[2] / "docs" / "backbones.md"
BEGIN, END = "<!-- backbones:begin -->\n", "<!-- backbones:end -->"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
SIZES_OF_TEXT = {"width": 32, "heads": 4, "layers": 3}


@register_model
def tiny_siglip(pretrained=False, **options):
    sizes = SMALL | options
    return vision_transformer.vit_base_patch16_siglip_224(**sizes)


@register_model
def tiny_vit(pretrained=False, **options):
    return vision_transformer.vit_base_patch16_224(**SMALL | options)


@register_model
def tiny_eva01(pretrained=False, **options):
    return eva.eva_giant_patch14_224(**SMALL | options)


@register_model
def tiny_eva02(pretrained=False, **options):
    return eva.eva02_base_patch16_clip_224(**SMALL | options)


@register_model
def tiny_eva02_large(pretrained=False, **options):
    return eva.eva02_large_patch14_clip_224(**SMALL | options)


@register_model
def tiny_eva02_enormous(pretrained=False, **options):
    return eva.eva02_enormous_patch14_clip_224(**SMALL | options)


@register_model
def tiny_pe(pretrained=False, **options):
    sizes = SMALL | {"attn_pool_num_heads": 2} | options
    return eva.vit_pe_core_base_patch16_224(**sizes)


@register_model
def tiny_pe_gigantic(pretrained=False, **options):
    sizes = SMALL | {"attn_pool_num_heads": 2} | options
    return eva.vit_pe_core_gigantic_patch14_448(**sizes)


@register_model
def tiny_fastvit(pretrained=False, **options):
    sizes = {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 64)}
    return fastvit.fastvit_mci0(**sizes | options)


@dataclass(frozen=True)
class Family:
    """A row of the table.

    models: open_clip's names. config: of the tiny model. tokenizer: the kind that
    `write_tokenizer` makes, "" for CLIP's. visual: takes visual prompts.
    """

    name: str
    models: str
    config: dict
    tokenizer: str = ""
    visual: bool = True


def clip_config(vision: dict | None = None, image: str = "vit", **changes) -> dict:
    """Return a tiny configuration of CLIP's own towers."""
    config = tiny_config(image, quick_gelu=False) | changes
    config["vision_cfg"] |= vision or {}
    return config


def timm_config(name: str, **vision) -> dict:
    """Return a tiny configuration with a timm image tower and CLIP's text tower."""
    tower = {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "image_size": 32,
        "timm_pool": "token",
        "timm_proj": None,
    }
    config = tiny_config(quick_gelu=False) | {"custom_text": True}
    config["vision_cfg"] = tower | vision
    return config


def from_open_clip(architecture: str, image: str | dict, vocabulary: int = 64) -> dict:
    """Return open_clip's configuration of an architecture with the widths and depths of a tiny
    one; image: the name of a tiny timm model, or sizes of a ViT.
    """
    config = open_clip.get_model_config(architecture)
    config["text_cfg"] |= SIZES_OF_TEXT | {"vocab_size": vocabulary}
    if isinstance(image, dict):
        config["vision_cfg"] |= image
        config["embed_dim"] = 16
        return config
    config["vision_cfg"] |= {"timm_model_name": image, "image_size": 32}
    # pooling without a projection gives the trunk's width
    config["embed_dim"] = SMALL["embed_dim"]
    return config


TINY_VIT = {
    "image_size": 32,
    "patch_size": 8,
    "width": 64,
    "layers": 3,
    "head_width": 32,
}
CLIP_WORDS = 49408
FAMILIES = [
    Family(
        "ViT with QuickGELU: OpenAI, DFN, MetaCLIP",
        "`ViT-*-quickgelu`, `ViT-B/16`",
        clip_config(quick_gelu=True),
    ),
    Family("ViT with GELU: LAION, DataComp", "`ViT-B-16`, ...", clip_config()),
    Family(
        "ViT with other heads and MLP",
        "`ViT-H-14`, `ViT-g-14`, `ViT-bigG-14`",
        clip_config({"head_width": 16, "mlp_ratio": 3.0}),
    ),
    Family(
        "ViT with layer scale, fixed positions, no first norm",
        "`vision_cfg`",
        clip_config(
            {"ls_init_value": 0.5, "pos_embed_type": "sin_cos_2d", "no_ln_pre": True}
        ),
    ),
    Family(
        "ViT with norms in its attention",
        "`vision_cfg`",
        clip_config({"qk_norm": True, "scale_attn": True, "scale_fc": True}),
    ),
    Family(
        "MetaCLIP 2",
        "`ViT-*-worldwide*`",
        from_open_clip("ViT-H-14-worldwide-quickgelu", TINY_VIT),
        "metaclip2",
    ),
    Family(
        "SigLIP",
        "`ViT-*-SigLIP*`",
        from_open_clip("ViT-B-16-SigLIP", "tiny_siglip"),
        "siglip",
    ),
    Family(
        "SigLIP 2",
        "`ViT-*-SigLIP2*`",
        from_open_clip("ViT-B-16-SigLIP2", "tiny_siglip"),
        "siglip2",
    ),
    Family(
        "EVA-CLIP",
        "`EVA01-*`",
        from_open_clip("EVA01-g-14", "tiny_eva01", CLIP_WORDS),
    ),
    Family(
        "EVA02-CLIP, base",
        "`EVA02-B-16`",
        from_open_clip("EVA02-B-16", "tiny_eva02", CLIP_WORDS),
    ),
    Family(
        "EVA02-CLIP, large",
        "`EVA02-L-14*`",
        from_open_clip("EVA02-L-14", "tiny_eva02_large", CLIP_WORDS),
    ),
    Family(
        "EVA02-CLIP, enormous",
        "`EVA02-E-14*`",
        from_open_clip("EVA02-E-14", "tiny_eva02_enormous", CLIP_WORDS),
    ),
    Family(
        "PE-Core",
        "`PE-Core-*`",
        from_open_clip("PE-Core-B-16", "tiny_pe", CLIP_WORDS),
    ),
    Family(
        "PE-Core without class token",
        "`PE-Core-bigG-14-448`",
        from_open_clip("PE-Core-bigG-14-448", "tiny_pe_gigantic", CLIP_WORDS),
    ),
    Family(
        "MobileCLIP's larger ones",
        "`MobileCLIP-B`, `MobileCLIP2-B`, `MobileCLIP2-L-14`",
        timm_config("tiny_vit"),
    ),
    Family(
        "MobileCLIP's smaller ones",
        "`MobileCLIP-S*`, `MobileCLIP2-S*`",
        from_open_clip("MobileCLIP-S1", "tiny_fastvit", CLIP_WORDS),
        visual=False,
    ),
    Family(
        "CLIPA",
        "`ViT-*-CLIPA*`",
        from_open_clip("ViT-L-14-CLIPA", TINY_VIT),
        "clipa",
        visual=False,
    ),
    Family(
        "ResNet", "`RN50`, ..., `RN50x64`", clip_config(image="resnet"), visual=False
    ),
    Family(
        "timm's ConvNeXt, Swin and others",
        "`convnext_*`, `swin_*`",
        timm_config("test_convnext", timm_pool="", timm_proj="linear", timm_drop=0.0),
        visual=False,
    ),
    Family(
        "ViTamin",
        "`ViTamin-*`",
        timm_config("test_vit4", image_size=160, timm_pool="", timm_proj="linear"),
        visual=False,
    ),
]
BY_NAME = {family.name: family for family in FAMILIES}
# architectures of open_clip that take no prompts: name -> part of the reason
REFUSED = {
    "coca_ViT-B-32": "CoCa: .*reads a class token",
    "roberta-ViT-B-32": "Hugging Face model roberta-base",
    "xlm-roberta-base-ViT-B-32": "Hugging Face model xlm-roberta-base",
    "mt5-base-ViT-B-32": "Hugging Face model google/mt5-base",
    "nllb-clip-base-siglip": "Hugging Face model facebook/nllb",
}
# of Microsoft's repository, which open_clip has no architecture for
BIOMED_CLIP = {
    "embed_dim": 512,
    "vision_cfg": {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    },
}


def random_clip(config: dict) -> nn.Module:
    """Return the model that open_clip makes of a configuration, with random weights that all
    play a part.
    """
    config = deepcopy(config)
    made = open_clip.CLIP
    if config.pop("custom_text", False):
        made = open_clip.CustomTextCLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = made(**config)
        for name, value in clip.named_parameters():
            if value.dim() > 0 and "logit" not in name:
                value.data += 0.2 * torch.randn_like(value)
    return clip.eval().requires_grad_(False)


def write_folder(family: Family, folder: Path) -> nn.Module:
    """Write a random model of a family like open_clip's repositories; return it."""
    clip = random_clip(family.config)
    state = {name: value.contiguous() for name, value in clip.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "open_clip_model.safetensors")
    values = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    text = json.dumps({"model_cfg": family.config, "preprocess_cfg": values})
    (folder / "open_clip_config.json").write_text(text)
    if family.tokenizer:
        write_tokenizer(family.tokenizer, folder)
    return clip


def write_tokenizer(kind: str, folder: Path) -> None:
    """Write a small tokenizer with a family's special tokens as transformers does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special, template, padding = {
        "siglip": (["<unk>", "</s>"], "$A </s>", "</s>"),
        "siglip2": (["<pad>", "<eos>", "<bos>", "<unk>"], "$A <eos>", "<pad>"),
        "metaclip2": (["<s>", "<pad>", "</s>", "<unk>"], "<s> $A </s>", "<pad>"),
        "clipa": (["[PAD]", "<unk>", "[CLS]", "[SEP]"], "[CLS] $A [SEP]", "[PAD]"),
    }[kind]
    pieces = [
        "▁",
        *"abcdefghijklmnopqrstuvwxyz0123456789.",
        "▁cat",
        "▁photo",
        "▁of",
        "▁a",
        "▁red",
    ]
    vocabulary = [(token, 0.0) for token in special]
    vocabulary += [(piece, -5.0 - 1.0 / len(piece)) for piece in pieces]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("<unk>")))
    if kind == "clipa":
        made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    ids = [(token, special.index(token)) for token in special]
    made.post_processor = TemplateProcessing(single=template, special_tokens=ids)
    end = template.split()[-1]
    saved = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=padding,
        eos_token=end,
        unk_token="<unk>",
        sep_token=end,
    )
    saved.save_pretrained(folder)


def open_clips_tokenizer(family: Family, folder: Path):
    """Return the tokenizer that open_clip would use."""
    text = family.config["text_cfg"]
    if not family.tokenizer:
        return SimpleTokenizer(context_length=text["context_length"])
    options = text.get("tokenizer_kwargs", {})
    return HFTokenizer(str(folder), context_length=text["context_length"], **options)


def table() -> str:
    """Return the rows of the families, in Markdown."""
    lines = [
        "| family | in open_clip | text prompts | visual, unified | otherwise the reason |",
        "|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        reason = clip_shape(clip_class(family.config)).unsupported_reason
        visual = "no" if reason else "yes"
        lines.append(f"| {family.name} | {family.models} | yes | {visual} | {reason} |")
    for name in REFUSED:
        reason = unsupported_reason(open_clip.get_model_config(name))
        lines.append(f"| | `{name}` | no | no | {reason} |")
    reason = unsupported_reason(BIOMED_CLIP)
    lines.append(f"| BiomedCLIP | | no | no | {reason} |")
    return "\n".join(lines) + "\n"


def clip_class(config: dict) -> open_clip.CLIP:
    """Return a random model in open_clip's class CLIP, as backbones are."""
    config = deepcopy(config)
    config.pop("custom_text", None)
    return open_clip.CLIP(**config).eval()


def with_table(text: str) -> str:
    """Return the page with today's table in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
