"""Published averages of the protocols: ViT-B/16 (OpenAI), 16 shots, the means of three
seeds (published.yaml).
"""

from __future__ import annotations

from pathlib import Path

from scripts.study.tables import AVERAGE
from toolkit.common.structured import read_yaml

# (protocol, method, label, column of the table) -> percent
Published = dict[tuple[str, str, str, str], float]

FILE = Path(__file__).with_name("published.yaml")
BACKBONE = "ViT-B/16"
SUITE = "coop"
BASE_NEW_H = ("base", "new", "H")


def values(suite: str, backbone: str) -> Published:
    """Return the published values; there are some for CoOp's suite on ViT-B/16."""
    if (suite, backbone) != (SUITE, BACKBONE):
        return {}
    found: Published = {}
    content = read_yaml(FILE)
    for method, numbers in content["base2new"].items():
        for label, number in zip(BASE_NEW_H, numbers, strict=True):
            found["base2new", method, label, AVERAGE] = number
    for protocol in ("crossdataset", "domain"):
        for method, number in content[protocol].items():
            found[protocol, method, "", AVERAGE] = number
    for method, averages in content["fewshot"].items():
        for shots, number in averages.items():
            found["fewshot", method, str(shots), AVERAGE] = number
    return found
