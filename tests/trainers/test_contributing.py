"""The method and the test that CONTRIBUTING shows, together."""

import re
from pathlib import Path

from dassl.engine import TRAINER_REGISTRY

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def example(path: str) -> str:
    text = CONTRIBUTING.read_text(encoding="utf-8")
    return re.search(rf"```python\n(# {re.escape(path)}.*?)```", text, re.S).group(1)


def test_the_test_of_the_method_passes(build):
    namespace = {}
    exec(example("trainers/methods/shallow.py"), namespace)
    try:
        exec(example("tests/trainers/test_shallow.py"), namespace)
        namespace["test_only_the_first_layer_has_tokens"](build)
    finally:
        TRAINER_REGISTRY._obj_map.pop("ShallowVPT")
