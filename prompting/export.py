"""A prompted CLIP with fixed classes as an ONNX model: normalised images in, probabilities out.

Needs the packages onnx and onnxscript, which nothing else here does.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from prompting.predict import Predictor

NEEDED = ("onnx", "onnxscript")
INPUT, OUTPUT = "images", "probabilities"


class FixedClasses(nn.Module):
    """The image tower with its prompt, and the class features as constants: images (B, 3, S, S) -> (B, C)."""

    def __init__(self, predictor: Predictor, classes: Sequence[str] | None = None, task: str | None = None) -> None:
        super().__init__()
        self.names, rows = predictor.choose_classes(classes, task)
        self.model = predictor.model
        with torch.no_grad():
            self.contexts = self.model.contexts()
            self.register_buffer("texts", self.model.encode_classes(self.names, contexts=self.contexts, rows=rows))

    def forward(self, images: Tensor) -> Tensor:
        return self.model.logits(self.model.encode_images(images, self.contexts), self.texts).softmax(-1)


def export(
    predictor: Predictor, path: str | os.PathLike, classes: Sequence[str] | None = None, task: str | None = None
) -> list[str]:
    """Write an ONNX model, whole or not at all, and return its class names in the order of its output.

    Input "images" (batch, 3, S, S), float32, normalised; output "probabilities" (batch, C). The names and the
    preprocessing stand in the model's metadata as JSON, under "classes" and "preprocessing". classes, task: as in
    `Predictor.predict`; the predictor lies on the CPU.

    Raises ValueError where a package is missing, or what `Predictor.choose_classes` raises.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(f"the ONNX export needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    fixed = FixedClasses(predictor, classes, task).eval()
    pre = predictor.preprocessing
    example = torch.zeros(2, 3, pre.size, pre.size)
    fast, _ = torch.backends.mha.get_fastpath_enabled(), torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                fixed,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    about = {"classes": fixed.names, "preprocessing": pre.record(predictor.mode)}
    program.model.metadata_props.update({key: json.dumps(value) for key, value in about.items()})
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        program.save(Path(folder) / path.name)
        for file in sorted(Path(folder).iterdir(), reverse=True):  # weights of more than 1.5 GB lie beside the model
            os.replace(file, path.with_name(file.name))
    return fixed.names
