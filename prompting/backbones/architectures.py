"""Those of open_clip's architectures that prompts can enter, and why others cannot be
used.
"""


def unsupported_reason(config: dict) -> str:
    """Return why prompts cannot enter models of this open_clip configuration; "" if at
    least text prompts can, as the text's result is read at the end token or last
    position.
    """
    text = config["text_cfg"]
    if "multimodal_cfg" in config:
        return "it is a CoCa: its text tower reads a class token, not the end token, and its image tower pools by attention"
    if text.get("hf_model_name"):
        return f"its text tower is the Hugging Face model {text['hf_model_name']}; prompts need open_clip's"
    if text.get("embed_cls"):
        return "its text tower reads a class token; prompts need the end token"
    pool_type = text.get("pool_type", "argmax")
    if pool_type not in ("argmax", "eos", "last"):
        return f"its text tower pools by {pool_type!r}; prompts need the end token (argmax, eos) or the last position"
    tokenizer = text.get("hf_tokenizer_name")
    if tokenizer and pool_type == "argmax":
        return f"it reads its result at the highest token id, which is no end token of its tokenizer {tokenizer}"
    if (text.get("tokenizer_kwargs") or {}).get("tokenizer_mode"):
        return f"its tokenizer {tokenizer} adds a class token at the end; prompts need the end token"
    return ""


def configuration(architecture: str) -> dict:
    """Return a copy of open_clip's configuration. Raises ValueError with the reason if
    prompts cannot enter.
    """
    from open_clip import get_model_config

    config = get_model_config(architecture)
    reason = unsupported_reason(config)
    if reason:
        raise ValueError(f"{architecture} cannot be used: {reason}")
    return config


def pretrained_values(architecture: str) -> dict:
    """Return mean, std and interpolation that all pretrained weights share, else {}."""
    found = []
    for config in _pretrained_configs(architecture):
        values = {key: tuple(config[key]) for key in ("mean", "std") if key in config}
        if "interpolation" in config:
            values["interpolation"] = config["interpolation"]
        if values not in found:
            found.append(values)
    return found[0] if len(found) == 1 else {}


def weights_location(config: dict) -> str:
    """Return a sentence that names the places in which open_clip looks for weights."""
    repository = (config.get("hf_hub") or "").rstrip("/")
    if repository:
        return f"open_clip looks for {repository} in the Hugging Face cache (HF_HOME, by default ~/.cache/huggingface)"
    file = (config.get("url") or "?").rsplit("/", 1)[-1]
    return f"open_clip looks for ~/.cache/clip/{file}"


def has_quick_gelu_weights(architecture: str) -> bool:
    """Return True if weights of this GELU architecture were trained with QuickGELU."""
    return any(cfg.get("quick_gelu") for cfg in _pretrained_configs(architecture))


def _pretrained_configs(architecture: str) -> list[dict]:
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(architecture)
    return [get_pretrained_cfg(architecture, tag) for tag in tags]
