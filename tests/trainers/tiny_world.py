"""A world for trainers' tests: random CLIP models of two layers, and small tasks in the
layouts of the real suites.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from datasets.coop import CoopTask
from datasets.elevater import ElevaterTask
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.tokens import clip_tokenizer

SIZE = 32  # pixels a side
TEXT_WIDTH, IMAGE_WIDTH, LAYERS = 32, 64, 2

SHAPES = ("cat", "red brick", "moon")
SCENES = ("tree", "cat", "boat", "grand piano")  # "cat" is also a shape
PETS = ("persian_cat", "beagle", "snake")
MARKS = ("zero", "one")


def tiny_clip(
    image: str = "vit", text_width: int = TEXT_WIDTH, image_width: int = IMAGE_WIDTH
):
    """Return a random open_clip CLIP for 32 x 32 pixels; `image` is "vit" or "resnet"."""
    if image == "vit":
        vision = {
            "image_size": SIZE,
            "patch_size": 8,
            "width": image_width,
            "layers": LAYERS,
            "head_width": 16,
        }
    else:
        vision = {
            "image_size": SIZE,
            "layers": [1, 1, 1, 1],
            "width": 8,
            "head_width": 8,
        }
    text = {
        "context_length": 40,
        "vocab_size": 49408,
        "width": text_width,
        "heads": 4,
        "layers": LAYERS,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        clip = open_clip.CLIP(
            embed_dim=16, quick_gelu=True, vision_cfg=vision, text_cfg=text
        )
        clip.token_embedding.weight.data.normal_(std=0.5)
        clip.positional_embedding.data.normal_(std=0.2)
    return clip.float().eval().requires_grad_(False)


STUBS = {
    "pocket": {},
    "ViT-B/32": {"text_width": 48, "image_width": 96},
    "RN50": {"image": "resnet"},
}


def stub(name: str) -> Backbone:
    """Return the random model that replaces a backbone's name."""
    preprocessing = Preprocessing(SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return Backbone(name, tiny_clip(**STUBS[name]), clip_tokenizer(), preprocessing)


def noise_image(
    rng: np.random.Generator, labels: tuple[int, ...], size: tuple[int, int] = (36, 32)
) -> bytes:
    """Return a PNG of noise with a bright square for each label."""
    pixels = rng.integers(0, 120, (*size[::-1], 3), dtype=np.uint8)
    for label in labels:
        row, column = divmod(label, 3)
        pixels[10 * row : 10 * row + 9, 12 * column : 12 * column + 9, label % 3] = 250
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_iris(
    folder: Path,
    names: tuple[str, ...],
    train: list[tuple[int, ...]],
    test: list[tuple[int, ...]],
    seed: int,
) -> None:
    """Write a task in ELEVATER's layout: index files, labels.txt and zips."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for split, rows in (("train", train), ("test", test)):
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for i, labels in enumerate(rows):
                archive.writestr(f"{split}/{i}.png", noise_image(rng, labels))
        lines = [
            f"{split}.zip@{split}/{i}.png {','.join(map(str, labels))}".strip()
            for i, labels in enumerate(rows)
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (folder / "labels.txt").write_text("\n".join(names) + "\n")


def write_coop(
    folder: Path, names: tuple[str, ...], per_class: dict[str, int], seed: int
) -> None:
    """Write a task in CoOp's layout: images in folders of classes and split.json."""
    rng = np.random.default_rng(seed)
    splits = {}
    for split, count in per_class.items():
        splits[split] = [
            [f"{name}/{split}_{i}.png", label, name]
            for i in range(count)
            for label, name in enumerate(names)
        ]
        for path, label, _ in splits[split]:
            (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / path).write_bytes(
                noise_image(rng, (label,), (SIZE, SIZE))
            )
    (folder / "split.json").write_text(json.dumps(splits))


def write_world(root: Path) -> Path:
    """Write all toy tasks below `root` and return it."""
    iris = root / "classification"
    write_iris(
        iris / "shapes",
        SHAPES,
        [(i % 3,) for i in range(15)],
        [(i % 3,) for i in range(9)],
        0,
    )
    scenes = [
        (0, 1),
        (2,),
        (1, 3),
        (),
        (0, 2, 3),
        (3,),
        (1,),
        (0,),
        (2, 3),
        (1, 2),
        (0, 3),
        (),
        (1,),
        (2,),
        (0, 1, 3),
    ]
    write_iris(
        iris / "scenes",
        SCENES,
        scenes + [(0, 1), (2, 3), (), (0, 2), (1, 3), (1, 2, 3)],
        scenes[:8],
        1,
    )
    write_iris(
        iris / "marks",
        MARKS,
        [(i % 2,) for i in range(12)],
        [(0,), (1,), (1,), (0,), (1,), (0,)],
        2,
    )
    write_coop(root / "pets", PETS, {"train": 5, "val": 2, "test": 3}, 3)
    return root


def iris_task(
    name: str, folder: str, label_kind: str = "multiclass", metric: str = "accuracy"
) -> type[ElevaterTask]:
    """Return a task class in ELEVATER's layout."""
    attributes = {
        "name": name,
        "root_folder": f"classification/{folder}",
        "label_kind": label_kind,
        "metric": metric,
        "templates": ("a drawing of a {}.", "a sketch of the {}."),
    }
    return type(name, (ElevaterTask,), attributes)


def task_classes() -> list[type]:
    """Return the classes of the toy tasks, not yet registered."""
    pets = type(
        "toy-pets",
        (CoopTask,),
        {
            "name": "toy-pets",
            "folder": "pets",
            "image_dir": "images",
            "split_json": "split.json",
        },
    )
    return [
        iris_task("toy-shapes", "shapes"),
        iris_task("toy-scenes", "scenes", "multilabel", "11point_mAP"),
        iris_task("toy-marks", "marks", metric="mean-per-class"),
        pets,
    ]
