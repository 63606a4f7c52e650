"""Small public copies of sets in their true layouts: webdataset shards and parquet
files; every image is another one.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def image(number: int, format: str = "PNG") -> bytes:
    """Return a small image that tells its number."""
    stream = io.BytesIO()
    color = (number % 256, number // 256 % 256, 7)
    options = {"lossless": True} if format == "WEBP" else {}
    Image.new("RGB", (2, 2), color).save(stream, format, **options)
    return stream.getvalue()


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """Write a tar; a member whose content is a tarfile.TarInfo is that header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_wds(
    folder: Path,
    names: Sequence[str],
    splits: dict,
    suffix: str = "png",
    shards: int = 2,
) -> dict:
    """Write a webdataset; `splits`: split -> labels of each image (an integer, or a
    tuple for multilabel).

    Returns split -> contents of the images in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classnames.txt").write_text("\n".join(names) + "\n")
    (folder / "zeroshot_classification_templates.txt").write_text(
        "a photo of a {c}.\na picture of {c}\n"
    )
    format = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}[suffix]
    contents = {}
    number = 0
    for split, all_labels in splits.items():
        members: list[list[tuple[str, bytes]]] = [[] for _ in range(shards)]
        contents[split] = []
        for position, labels in enumerate(all_labels):
            content = image(number, format)
            number += 1
            contents[split].append(content)
            if isinstance(labels, tuple):
                (folder / "dataset_type.txt").write_text("multilabel")
                vector = np.zeros(len(names), np.int64)
                vector[list(labels)] = 1
                stream = io.BytesIO()
                np.save(stream, vector)
                label = ("npy", stream.getvalue())
            else:
                label = ("cls", str(labels).encode())
            shard = members[position * shards // len(all_labels)]
            shard.append((f"s{position:07d}.{suffix}", content))
            shard.append((f"s{position:07d}.{label[0]}", label[1]))
        for shard, inner in enumerate(members):
            write_tar(folder / split / f"{shard}.tar", inner)
        (folder / split / "nshards.txt").write_text(f"{shards}\n")
    return contents


def write_parquet(
    folder: Path,
    names: Sequence[str],
    splits: dict,
    label: str = "label",
    others: Sequence[str] = (),
    parts: int = 2,
) -> dict:
    """Write parquet files as the Hub has them; `splits`: name in files -> labels.
    Returns split -> contents in order.
    """
    import pyarrow
    import pyarrow.parquet

    features = {
        "image": {"_type": "Image"},
        label: {"names": list(names), "_type": "ClassLabel"},
    }
    features |= {
        other: {"names": ["x", "y"], "_type": "ClassLabel"} for other in others
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    (folder / "data").mkdir(parents=True, exist_ok=True)
    contents = {}
    number = 0
    for split, labels in splits.items():
        contents[split] = [image(number + k) for k in range(len(labels))]
        number += len(labels)
        bounds = [part * len(labels) // parts for part in range(parts + 1)]
        for part, (start, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            rows = [
                {"bytes": content, "path": None}
                for content in contents[split][start:end]
            ]
            columns = {
                "image": pyarrow.array(rows, kind),
                label: pyarrow.array(labels[start:end], pyarrow.int64()),
            }
            columns |= {
                other: pyarrow.array([0] * (end - start), pyarrow.int64())
                for other in others
            }
            table = pyarrow.table(columns).replace_schema_metadata(metadata)
            pyarrow.parquet.write_table(
                table, folder / "data" / f"{split}-{part:05d}-of-{parts:05d}.parquet"
            )
    return contents
