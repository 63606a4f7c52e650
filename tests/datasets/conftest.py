import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import datasets


@pytest.fixture(scope="session", autouse=True)
def registered():
    """Import the modules that register, before any test replaces the registry by a
    copy.
    """
    datasets.register_all()


class Disk:
    """Writes tiny data sets."""

    def __init__(self, root: Path):
        self.root = root

    def image(
        self, color=(200, 100, 50), size=(12, 8), format="PNG", **options
    ) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", size, color).save(stream, format, **options)
        return stream.getvalue()

    def write(self, path, content) -> Path:
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def json(self, path, content) -> Path:
        return self.write(path, json.dumps(content))

    def zip(self, path, members: dict) -> Path:
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
        return path

    def iris(self, folder, names, train, test, **options) -> None:
        """Write a task in ELEVATER's layout. `train` and `test`: one label field ("3",
        "0,4" or "") per image; the images' colours are all different.
        """
        for split, fields in (("train", train), ("test", test)):
            members = {
                f"{split}/{i}.png": self.image(
                    (40 * i % 256, 7 * i % 256, len(split)), **options
                )
                for i in range(len(fields))
            }
            self.zip(f"{folder}/{split}.zip", members)
            lines = [
                f"{split}.zip@{name} {field}".strip()
                for name, field in zip(members, fields, strict=True)
            ]
            self.write(f"{folder}/{split}.txt", "\n".join(lines) + "\n")
        self.write(f"{folder}/labels.txt", "\n".join(names) + "\n")


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path)


@pytest.fixture
def cfg(tmp_path):
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    cfg.DATASET.ROOT = str(tmp_path)
    cfg.DATASET.RANDOM_SEED_SAMPLING = 1
    return cfg
