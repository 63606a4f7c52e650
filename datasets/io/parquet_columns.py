"""The columns of parquet files: images {bytes, path}, and labels."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp")
LABEL_COLUMNS = ("label", "labels", "cls", "fine_label", "class", "category", "target")


def load_pyarrow() -> Any:
    """Return the package pyarrow. Raises ValueError if it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError("parquet files need pyarrow: pip install pyarrow") from None
    return pyarrow


def image_column(schema: Any, file: Path) -> str:
    """Return the only column that holds images, or the one with a usual name."""
    described = _features(schema)
    found = {}
    for field in schema:
        feature = described.get(field.name)
        is_described = isinstance(feature, dict) and feature.get("_type") == "Image"
        is_named = field.name.lower() in IMAGE_COLUMNS
        if is_described or is_named or _has_bytes(field.type):
            found[field.name.lower()] = field.name
    if not found:
        raise ValueError(
            f"{file} has no column of images {{bytes, path}}; it has {', '.join(schema.names)}"
        )
    named = [found[name] for name in IMAGE_COLUMNS if name in found]
    column, *others = named or found.values()
    if others and not named:
        names = ", ".join(found.values())
        raise ValueError(
            f"{file} has several columns of images: {names}; name one of them image"
        )
    _require_images(schema, column, file)
    return column


def _require_images(schema: Any, column: str, file: Path):
    """Raise ValueError unless a file has one column of this name, which holds images."""
    _require_column(schema, column, file)
    kind = schema.field(column).type
    content = kind.field("bytes").type if _has_bytes(kind) else kind
    if not _is_any(content, "binary", "large_binary", "binary_view"):
        raise ValueError(
            f"{file}: column {column!r} holds {kind}, not images {{bytes, path}}"
        )


def label_column(schema: Any, file: Path, wanted: str) -> tuple[str, list[str], bool]:
    """Return the column of labels, its class names, and if it holds lists."""
    named = _named_columns(schema)
    column = wanted or _usual_column(schema, file, list(named))
    _require_column(schema, column, file)
    is_list = _is_list(schema.field(column).type)
    return column, named.get(column, []), is_list


def require_same(
    schema: Any,
    file: Path,
    first: Path,
    columns: tuple[str, str],
    classnames: list[str],
) -> None:
    """Raise ValueError unless a file has the first one's columns and class names."""
    image_column, label_column = columns
    _require_images(schema, image_column, file)
    _require_column(schema, label_column, file)
    others = _named_columns(schema).get(label_column, [])
    if not others or others == classnames:
        return
    for position, (name, other) in enumerate(zip_longest(classnames, others)):
        if name != other:
            raise ValueError(
                f"{file}: column {label_column}: class {position} is {other!r}, but in {first} it is {name!r}"
            )


def _require_column(schema: Any, column: str, file: Path):
    """Raise ValueError unless a file has one column of this name."""
    count = schema.names.count(column)
    if count == 0:
        raise ValueError(
            f"{file} has no column {column!r}; it has {', '.join(schema.names)}"
        )
    if count > 1:
        raise ValueError(f"{file} has {count} columns {column!r}; one is needed")


def _is_any(kind: Any, *names: str) -> bool:
    """Return if a type is one of those that pyarrow calls by these names."""
    types = load_pyarrow().types
    return any(getattr(types, f"is_{name}")(kind) for name in names)


def _has_bytes(kind: Any) -> bool:
    return _is_any(kind, "struct") and kind.get_field_index("bytes") >= 0


def _is_list(kind: Any) -> bool:
    return _is_any(kind, "list", "large_list", "fixed_size_list", "list_view")


def is_text(kind: Any) -> bool:
    """Return if values of a type are texts, or lists of texts."""
    if _is_list(kind) or _is_any(kind, "dictionary"):
        return is_text(kind.value_type)
    return _is_any(kind, "string", "large_string", "string_view")


def _named_columns(schema: Any):
    """Return column -> class names, of the columns that have some."""
    described = _features(schema)
    named = {}
    for column in schema.names:
        feature = described.get(column)
        if isinstance(feature, list) and feature:
            feature = feature[0]
        elif isinstance(feature, dict) and "feature" in feature:
            feature = feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            named[column] = _names_in_order(feature.get("names"))
    return named


def _names_in_order(names: Any) -> list[str]:
    """Return the class names of a list, or of label -> name; [] for other values."""
    if isinstance(names, dict):
        numbered = {str(label): name for label, name in names.items()}
        names = [numbered.get(str(label)) for label in range(len(numbered))]
    if not isinstance(names, list) or None in names:
        return []
    return [str(name) for name in names]


def _usual_column(schema: Any, file: Path, named: list[str]) -> str:
    """Return the only column with class names, or the one with a usual name."""
    if len(named) == 1:
        return named[0]
    columns = {column.lower(): column for column in schema.names}
    for name in LABEL_COLUMNS:
        if name in columns:
            return columns[name]
    if named:
        raise ValueError(
            f"{file} has several columns of labels: {', '.join(named)}; name one of them label"
        )
    raise ValueError(
        f"{file} has no column of labels; it has {', '.join(schema.names)}"
    )


def _features(schema: Any) -> dict[str, Any]:
    """Return the column descriptions that the Hub's writer keeps in the metadata."""
    try:
        metadata = schema.metadata or {}
        content = json.loads(metadata[b"huggingface"])
        features = content["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}
