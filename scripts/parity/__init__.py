"""Comparison with numbers of official code."""

# method -> its trainer, the kind of its prompts if they are read by their names, and
# keys of the trainer, each with the name of its setting
METHODS = {
    "ivlp": ("IVLP", "ivlp", {}),
    "kgcoop": ("KgCoOp", "text", {"W": "w"}),
    "maple": ("MaPLe", "maple", {}),
    "mmrl": ("MMRL", "", {"REG_WEIGHT": "reg"}),
    "mmrlpp": ("MMRLPP", "", {"REG_WEIGHT": "reg"}),
    "prograd": ("ProGrad", "text", {"T": "T", "LAMBDA": "lam"}),
    "promptsrc": (
        "PromptSRC",
        "ivlp",
        {"TEXT_LOSS_WEIGHT": "w_text", "IMAGE_LOSS_WEIGHT": "w_image"},
    ),
    "softcpt": ("MSoftCPT", "", {}),
    "tcp": ("TCP", "", {}),
}
