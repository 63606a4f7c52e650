"""A prompted CLIP with fixed classes as an ONNX model: normalised images in,
probabilities out. Needs the packages onnx and onnxscript.
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
from toolkit.common.files import check_output

NEEDED = ("onnx", "onnxscript")
INPUT, OUTPUT = "images", "probabilities"


class FixedClasses(nn.Module):
    """The prompted image tower and constant class features: (B, 3, S, S) -> (B, C)."""

    class_features: Tensor

    def __init__(
        self,
        predictor: Predictor,
        classes: Sequence[str] | None = None,
        task: str | None = None,
    ) -> None:
        super().__init__()
        self.names, _ = predictor.choose_classes(classes, task)
        self.model = predictor.model
        self.register_buffer("class_features", predictor.class_features(classes, task))
        with torch.no_grad():
            self.contexts = self.model.contexts()

    def forward(self, images: Tensor) -> Tensor:
        features = self.model.encode_images(images, self.contexts)
        return self.model.logits(features, self.class_features).softmax(-1)


def export(
    predictor: Predictor,
    path: str | os.PathLike,
    classes: Sequence[str] | None = None,
    task: str | None = None,
) -> list[str]:
    """Write an ONNX model, whole or not at all; return its class names in output order.
    Input "images" (batch, 3, S, S), float32, normalised; output "probabilities" (batch,
    C); names and preprocessing are its metadata, as JSON. The predictor must be on the
    CPU. Raises ValueError for a missing package, a device, or wrong classes, and
    IsADirectoryError.
    """
    path = Path(path)
    check_output(path)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the ONNX export needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )
    fixed = FixedClasses(predictor, classes, task).eval()
    size = predictor.preprocessing.size
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                fixed,
                (torch.zeros(2, 3, size, size),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    if program is None:
        raise ValueError("this torch writes no ONNX program")
    metadata = {
        "classes": json.dumps(fixed.names),
        "preprocessing": json.dumps(predictor.preprocessing.record(predictor.mode)),
    }
    program.model.metadata_props.update(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        program.save(Path(folder) / path.name)
        # weights of more than 1.5 GB are a separate file
        for file in sorted(Path(folder).iterdir(), reverse=True):
            os.replace(file, path.with_name(file.name))
    return fixed.names
