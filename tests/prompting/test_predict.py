"""Predictions with a learned prompt, from Python and from the command line."""

import csv
import io
import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_clip

import prompting
import prompting.__main__
import prompting.predict
from prompting import (
    PromptedCLIP,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    clip_shape,
    load,
    save_prompts,
)
from prompting.__main__ import main
from prompting.answers import Answer, Writer
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.predict import find_images
from prompting.tokens import clip_tokenizer
from toolkit.common.plugins import import_file

CLASSES = ["cat", "red_brick", "moon"]
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.3]
PREPROCESSING = {
    "size": 32,
    "mean": MEAN,
    "std": STD,
    "interpolation": "bicubic",
    "crop": "squash",
}
METADATA = {
    "method": "MUPT",
    "backbone": "stub",
    "preprocessing": PREPROCESSING,
    "tasks": ["photos"],
    "classes": {"photos": CLASSES},
}


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture(autouse=True)
def backbones(clip, monkeypatch):
    """Replace `load_backbone`: "stub" is a random CLIP, other names load as usual.

    Returns the calls.
    """
    real, calls = prompting.predict.load_backbone, []

    def load_backbone(name, pretrained=None, device="cpu"):
        calls.append((name, pretrained))
        if name in ("stub", "stub.pt"):
            return Backbone(name, clip, clip_tokenizer(), Preprocessing(32))
        return real(name, pretrained, device)

    monkeypatch.setattr(prompting.predict, "load_backbone", load_backbone)
    return calls


def text(classes=None):
    return TextPrompt(3, 32, classes)


def visual(clip):
    shape = clip_shape(clip)
    return VisualPrompt(2, shape.image_width, shape.image_layers, shape.patch_size)


@pytest.fixture
def saved(tmp_path, clip):
    """Return a function that writes prompts.safetensors into a run's folder and returns
    the folder.
    """

    def save(prompt=None, **changes):
        metadata = {
            key: value
            for key, value in (METADATA | changes).items()
            if value is not None
        }
        save_prompts(
            tmp_path / "run" / "prompts.safetensors", prompt or text(), metadata
        )
        return tmp_path / "run"

    return save


@pytest.fixture
def photos(tmp_path):
    """Return a folder with five images of different sizes and kinds, and other files."""
    rng, folder = np.random.default_rng(0), tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name, size in (
        ("a.png", (40, 60)),
        ("b.JPG", (64, 32)),
        ("deep/c.png", (32, 32)),
        ("d.gif", (20, 30)),
    ):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(
            folder / name
        )
    Image.fromarray(rng.integers(0, 255, (30, 50), dtype=np.uint8)).save(
        folder / "e.png"
    )
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize("kind", ["text", "visual", "unified", "class-specific"])
def test_probabilities_are_those_of_the_prompted_clip(saved, photos, clip, kind):
    prompt = {
        "text": text,
        "visual": lambda: visual(clip),
        "class-specific": lambda: text(3),
        "unified": lambda: UnifiedPrompt(text(), visual(clip), dim=16),
    }[kind]()
    images = find_images([photos])
    got = load(saved(prompt)).probabilities(images)
    pixels = []
    for path in images:
        image = (
            Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        )
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
        pixels.append(
            (values - torch.tensor(MEAN)[:, None, None])
            / torch.tensor(STD)[:, None, None]
        )
    with torch.no_grad():
        wanted = PromptedCLIP(clip, prompt.eval())(
            torch.stack(pixels), CLASSES
        ).softmax(1)
    assert got.shape == (5, 3) and torch.allclose(got, wanted, atol=1e-5)


def test_predictions_are_ranked_and_batches_do_not_matter(saved, photos):
    predictor = load(saved() / "prompts.safetensors")
    images = find_images([photos])
    table = predictor.probabilities(images)
    for row, ranked in zip(table, predictor.predict(images, batch_size=2), strict=True):
        assert [p for _, p in ranked] == sorted((p for _, p in ranked), reverse=True)
        assert {name: pytest.approx(p, abs=1e-5) for name, p in ranked} == dict(
            zip(CLASSES, row.tolist(), strict=True)
        )
    assert predictor.predict([]) == []
    one = predictor.predict(images[0])
    assert len(one) == 1 and one == predictor.predict(
        [Image.open(images[0])]
    ) == predictor.predict(str(images[0]))
    with pytest.raises(ValueError, match="batch_size is 0"):
        predictor.predict(images, batch_size=0)


def test_the_centre_is_cut_where_the_prompt_was_learned_so(saved, tmp_path):
    pixels = np.zeros((32, 96, 3), dtype=np.uint8)
    pixels[:, :32], pixels[:, 32:64], pixels[:, 64:] = 255, 100, 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    cropped = load(saved(preprocessing=PREPROCESSING | {"crop": "crop"})).prepare(
        tmp_path / "wide.png"
    )
    assert cropped.shape == (3, 32, 32) and torch.allclose(
        cropped[0], torch.tensor((100 / 255 - 0.5) / 0.25), atol=1e-5
    )
    squashed = load(saved()).prepare(tmp_path / "wide.png")
    assert squashed[0, 0, 0] > 1.9 and squashed[0, 0, -1] > 1.9


def test_images_are_turned_upright(saved, tmp_path):
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    prepared = load(saved()).prepare(tmp_path / "turned.png")
    assert prepared[0, 0, 0] < 0 < prepared[0, -1, 0]


def test_other_classes(saved, photos):
    predictor, images = load(saved()), find_images([photos])
    (ranked, *_) = predictor.predict(images, ["owl", "a cat"])
    assert {name for name, _ in ranked} == {"owl", "a cat"} and sum(
        p for _, p in ranked
    ) == pytest.approx(1)
    with pytest.raises(ValueError, match="classes must be a list of names, not 'owl'"):
        predictor.predict(images, "owl")


def test_class_specific_contexts_serve_their_own_classes_in_any_order(saved, photos):
    predictor, images = load(saved(text(3))), find_images([photos])
    full, part = (
        predictor.probabilities(images),
        predictor.probabilities(images, ["moon", "cat"]),
    )
    assert torch.allclose(
        part, full[:, [2, 0]] / full[:, [2, 0]].sum(1, keepdim=True), atol=1e-5
    )
    with pytest.raises(
        ValueError,
        match="parameters for each of its own classes; 'owl' is none of them",
    ):
        predictor.predict(images, ["cat", "owl", "moon"])


def test_several_tasks(saved, photos):
    predictor, images = (
        load(saved(classes={"a": ["x", "y"], "b": ["z", "v", "w"]})),
        find_images([photos]),
    )
    assert predictor.probabilities(images, task="b").shape == (5, 3)
    assert predictor.probabilities(images, ["x"]).shape == (5, 1)
    with pytest.raises(
        ValueError,
        match=r"several tasks: choose one \(--task\) of a, b, or give classes",
    ):
        predictor.predict(images)
    with pytest.raises(ValueError, match="not learned on a task 'c'; it knows a, b"):
        predictor.predict(images, task="c")


def test_files_without_classes_or_preprocessing(saved, photos):
    predictor = load(saved(classes=None, preprocessing=None))
    assert predictor.preprocessing == Preprocessing(32) and predictor.mode == "squash"
    with pytest.raises(ValueError, match="holds no class names"):
        predictor.predict(photos / "a.png")
    assert len(predictor.predict(photos / "a.png", ["cat", "dog"])[0]) == 2


def test_backbones(saved, backbones):
    load(saved(pretrained="laion2b"))
    load(saved(), backbone="stub.pt")
    load(saved(pretrained="laion2b"), backbone="stub.pt", pretrained="w.pt")
    assert backbones == [("stub", "laion2b"), ("stub.pt", None), ("stub.pt", "w.pt")]
    with pytest.raises(
        ValueError,
        match=r"prompts.safetensors: its backbone my.pt2 can't be loaded .* give its file",
    ):
        load(saved(backbone="my.pt2"))
    with pytest.raises(
        FileNotFoundError,
        match="its backbone my.pt can't be loaded .* give its file as the backbone",
    ):
        load(saved(backbone="my.pt"))
    with pytest.raises(FileNotFoundError, match="^no checkpoint at ./gone.pt"):
        load(saved(), backbone="./gone.pt")


@pytest.mark.parametrize(
    ("prompt", "changes", "message"),
    [
        (
            TextPrompt(3, 48),
            {},
            "prompts.safetensors: the text prompt is 48 wide, the text tower 32",
        ),
        (
            None,
            {"preprocessing": PREPROCESSING | {"size": 224}},
            "learned on 224 pixels; stub takes 32",
        ),
        (
            None,
            {"preprocessing": PREPROCESSING | {"crop": "pad"}},
            "preprocessing is 'pad'",
        ),
    ],
)
def test_prompts_that_do_not_fit(saved, prompt, changes, message):
    with pytest.raises(ValueError, match=message):
        load(saved(prompt, **changes))


def test_images_that_are_not(saved, photos, tmp_path):
    predictor = load(saved())
    with pytest.raises(FileNotFoundError, match="no image .*nothing.png"):
        predictor.predict(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="cannot decode .*notes.txt: not an image"):
        predictor.predict(photos / "notes.txt")
    content = (photos / "a.png").read_bytes()
    (photos / "half.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot decode .*half.png: "):
        predictor.predict(photos / "half.png")


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(capsys):
    def run(words):
        code = main(shlex.split(f"predict {words} --device cpu"))
        return code, *capsys.readouterr()

    return run


def test_text_output(command, saved, photos):
    run = saved()
    code, out, err = command(f"{run} {photos}/b.JPG {photos}/a.png --top 2")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith(f"{photos}/b.JPG: ") and second.startswith(
        f"{photos}/a.png: "
    )
    predicted = load(run).predict(photos / "b.JPG")
    code, out, err = command(f"{run} {photos}/b.JPG")
    assert (
        out
        == f"{photos}/b.JPG: "
        + ", ".join(f"{name} {100 * p:.1f} %" for name, p in predicted[0])
        + "\n"
    )


def test_json_output_of_a_folder(command, saved, photos):
    code, out, _ = command(
        f"{saved()} {photos} {photos}/a.png --json --top 2 --classes 'owl, a cat,cat'"
    )
    records = json.loads(out)
    names = ["a.png", "b.JPG", "d.gif", "deep/c.png", "e.png", "a.png"]
    assert code == 0 and [record["image"] for record in records] == [
        str(photos / name) for name in names
    ]
    for record in records:
        one, two = record["predictions"]
        assert (
            one.keys() == {"class", "probability"}
            and 1 >= one["probability"] >= two["probability"] > 0
        )
        assert {one["class"], two["class"]} < {"owl", "a cat", "cat"}


@pytest.fixture
def mixed(photos):
    """Return the photos with three files that can't be read."""
    (photos / "broken.png").write_bytes((photos / "a.png").read_bytes()[:80])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    return photos


GOOD = ["a.png", "b.JPG", "d.gif", "deep/c.png", "e.png"]
BAD = ["broken.png", "empty.jpg", "gone.png"]


@pytest.mark.parametrize("form", ["text", "csv", "jsonl", "json"])
def test_unreadable_images_are_reported_and_the_others_answered(
    command, saved, mixed, form
):
    run = saved()
    wanted = {str(mixed / name): load(run).predict(mixed / name)[0] for name in GOOD}
    code, out, err = command(f"{run} {mixed} --format {form}")
    assert code == 1
    *lines, last = err.splitlines()
    assert len(lines) == 3 and last == "error: 3 of 8 images could not be read"
    for line, name in zip(lines, BAD, strict=True):
        assert line.startswith("error: ") and str(mixed / name) in line
    if form == "text":
        assert [line.partition(":")[0] for line in out.splitlines()] == list(wanted)
        return
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        found = {}
        for row in rows:
            pairs = [
                (row[f"class_{k}"], float(row[f"probability_{k}"] or 0))
                for k in (1, 2, 3)
            ]
            found[row["image"]] = (row["predicted"], pairs, row["error"])
    else:
        records = (
            json.loads(out)
            if form == "json"
            else [json.loads(line) for line in out.splitlines()]
        )
        found = {}
        for record in records:
            pairs = [
                (pair["class"], pair["probability"])
                for pair in record.get("predictions", [])
            ]
            found[record["image"]] = (
                record.get("predicted", ""),
                pairs,
                record.get("error", ""),
            )
    assert list(found) == [str(mixed / name) for name in sorted(GOOD + BAD)]
    for image, ranked in wanted.items():
        predicted, pairs, error = found[image]
        assert (predicted, error) == (ranked[0][0], "")
        assert [name for name, _ in pairs] == [name for name, _ in ranked]
        assert [p for _, p in pairs] == pytest.approx([p for _, p in ranked], abs=1e-5)
    for name in BAD:
        predicted, _, error = found[str(mixed / name)]
        assert predicted == "" and str(mixed / name) in error


def test_many_images_are_answered_in_parts(command, saved, mixed, monkeypatch):
    run = saved()
    _, whole, _ = command(f"{run} {mixed} --format csv --top 2")
    monkeypatch.setattr(prompting.__main__, "AT_ONCE", 2)
    code, parts, err = command(f"{run} {mixed} --format csv --top 2")
    assert code == 1 and "3 of 8" in err
    rounded = [re.sub(r"0\.(\d{4})\d\d", r"0.\1", text) for text in (whole, parts)]
    assert rounded[0] == rounded[1] and whole.startswith(
        "image,predicted,class_1,probability_1,class_2"
    )


def test_only_unreadable_images(command, saved, photos):
    code, out, err = command(f"{saved()} {photos}/notes.txt {photos}/notes.txt")
    assert (code, out) == (1, "") and err.endswith(
        "error: 2 of 2 images could not be read\n"
    )


def test_errors_can_be_taken_from_python(saved, mixed):
    errors = {}
    images = [mixed / name for name in ("broken.png", "a.png", "empty.jpg", "e.png")]
    predictor = load(saved())
    predictions = predictor.predict(images, batch_size=1, errors=errors)
    assert list(errors) == [0, 2] and [len(ranked) for ranked in predictions] == [
        0,
        3,
        0,
        3,
    ]
    assert predictions[1] == predictor.predict(mixed / "a.png")[0]
    with pytest.raises(ValueError, match="broken.png"):
        predictor.predict(images)
    whole = (mixed / "a.png").read_bytes()
    opened = Image.open(io.BytesIO(whole[: len(whole) // 2]))
    errors = {}
    assert predictor.predict([opened], errors=errors) == [[]]
    assert str(errors[0]).startswith("cannot decode an opened image: ")


def test_class_features_are_computed_once(saved, photos, monkeypatch):
    predictor = load(saved())
    calls, real = [], predictor.model.encode_classes
    monkeypatch.setattr(
        predictor.model,
        "encode_classes",
        lambda *a, **k: calls.append(a) or real(*a, **k),
    )
    first = predictor.predict(photos / "a.png")
    predictor.predict(photos / "e.png")
    assert predictor.predict(photos / "a.png") == first and len(calls) == 1
    predictor.predict(photos / "a.png", ["owl", "cat"])
    predictor.predict(photos / "a.png", ["cat", "owl"])
    predictor.predict(photos / "e.png", ["owl", "cat"])
    assert len(calls) == 3


def test_below_the_threshold_the_answer_is_unsure(command, saved, photos):
    run = saved()
    probabilities = [load(run).predict(photos / name)[0][0][1] for name in GOOD]
    threshold = sorted(probabilities)[2]
    code, out, _ = command(
        f"{run} {photos} --format jsonl --threshold {threshold - 1e-7}"
    )
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and sum(record["predicted"] == "unsure" for record in records) == 2
    _, out, _ = command(f"{run} {photos} --threshold {threshold - 1e-7} --top 1")
    assert sum(": unsure, " in line for line in out.splitlines()) == 2


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_sorted_into_folders(command, saved, mixed, tmp_path, copy):
    Image.new("RGB", (40, 40), (9, 200, 60)).save(mixed / "deep" / "a.png")
    run, out = saved(classes={"x": ["../up", "a/b", ".."]}), tmp_path / "sorted"
    flags = f"--sort-into {out}"
    if copy:
        flags += " --copy"
    names = {"../up": "_up", "a/b": "a_b", "..": "_"}
    assert command(f"{run} {mixed} {flags}")[0] == 1
    sources = [mixed / name for name in [*GOOD, "deep/a.png"]]
    listed = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*.*")
        if not path.is_dir()
    )
    assert len(listed) == 6
    for source in sources:
        predicted = names[load(run).predict(source)[0][0][0]]
        same = [
            path
            for path in (out / predicted).iterdir()
            if path.read_bytes() == source.read_bytes()
        ]
        assert len(same) == 1 and same[0].is_symlink() is not copy
        assert same[0].name in (source.name, "a-2.png")
    command(f"{run} {mixed} {flags}")  # again: nothing is added
    again = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*.*")
        if not path.is_dir()
    )
    assert again == listed


def test_nothing_is_overwritten_when_images_are_sorted(
    command, saved, photos, tmp_path
):
    run, out = saved(), tmp_path / "sorted"
    predicted = load(run).predict(photos / "a.png")[0][0][0]
    (out / predicted).mkdir(parents=True)
    (out / predicted / "a.png").write_text("mine")
    (out / predicted / "a-2.png").symlink_to(tmp_path / "nowhere")
    assert command(f"{run} {photos}/a.png --sort-into {out} --copy")[0] == 0
    assert (out / predicted / "a.png").read_text() == "mine" and (
        out / predicted / "a-2.png"
    ).is_symlink()
    assert (out / predicted / "a-3.png").read_bytes() == (photos / "a.png").read_bytes()
    assert command(f"{run} {photos}/a.png --sort-into {out} --threshold 1")[0] == 0
    assert (out / "unsure" / "a.png").resolve() == photos / "a.png"


def test_names_of_files_do_not_steer_the_terminal(command, saved, photos):
    (photos / "a.png").rename(photos / "x\x1b[31m\nerror: y.png")
    run = saved()
    for form in ("text", "csv"):
        code, out, err = command(f"{run} {photos} --format {form}")
        assert (
            (code, err) == (0, "")
            and "\x1b" not in out
            and "x\\x1b[31m\\nerror: y.png" in out
        )
    _, out, _ = command(f"{run} {photos} --format json")
    assert str(photos / "x\x1b[31m\nerror: y.png") in [
        record["image"] for record in json.loads(out)
    ]


@pytest.mark.parametrize("name", ["=1+1", "+cat", "-2", "@SUM(A1)"])
def test_no_cell_of_a_table_is_a_formula(name):
    stream = io.StringIO()
    writer = Writer(stream, "csv", columns=2)
    writer.write(Answer(f"{name}.png", [(name, 0.75), ("dog", 0.25)]))
    writer.write(Answer("a.png", [], error=name))
    first, second = csv.DictReader(io.StringIO(stream.getvalue()))
    assert first["image"] == f"'{name}.png"
    assert first["predicted"] == first["class_1"] == f"'{name}"
    assert (first["class_2"], first["probability_1"]) == ("dog", "0.750000")
    assert second["error"] == f"'{name}"


INK = [  # (recorded preprocessing, value of the pixels behind the ink)
    (PREPROCESSING, 0),
    (PREPROCESSING | {"background": "none"}, 0),
    (PREPROCESSING | {"background": "white"}, 255),
    (PREPROCESSING | {"background": "black"}, 0),
    (None, 255),
]


@pytest.mark.parametrize(("preprocessing", "value"), INK)
def test_transparent_images_are_prepared_as_in_the_training(
    saved, tmp_path, preprocessing, value
):
    Image.new("RGBA", (32, 32)).save(tmp_path / "ink.png")
    predictor = load(saved(preprocessing=preprocessing))
    red = predictor.prepare(tmp_path / "ink.png")[0, 0, 0].item()
    mean, std = predictor.preprocessing.mean[0], predictor.preprocessing.std[0]
    assert red == pytest.approx((value / 255 - mean) / std, abs=1e-5)


def test_an_unknown_background_of_a_file_is_refused(saved):
    with pytest.raises(
        ValueError, match="background 'grey' is none of white, black, none"
    ):
        load(saved(preprocessing=PREPROCESSING | {"background": "grey"}))


@pytest.mark.parametrize(
    "suffix, package", [("avif", "PIL._avif"), ("heic", "pillow_heif")]
)
def test_avif_and_heic_where_they_can_be_decoded(
    command, saved, photos, suffix, package
):
    if find_spec(package) is None:
        pytest.skip(f"needs {package}")
    if suffix == "heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 32), (200, 10, 10)).save(photos / f"z.{suffix}")
    code, out, _ = command(f"{saved()} {photos}")
    assert code == 0 and len(out.splitlines()) == 6 and f"z.{suffix}: " in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("{run} {photos} --threshold 1.5", "--threshold is 1.5"),
        ("{run} {photos} --threshold nan", "--threshold is nan"),
        ("{run} {photos} --copy", "--copy says how --sort-into"),
        ("{run} {photos} --sort-into {photos}/a.png", "a.png is a file, not a folder"),
        ("{run} {photos}/nothing.png", "no image .*nothing.png"),
        ("{run} {photos}/notes.txt", "cannot decode .*notes.txt: not an image"),
        ("{run} {run}", "no images in .*run"),
        ("{photos} {photos}", "no prompts at .*photos/prompts.safetensors"),
        ("{photos}/a.png {photos}", "a.png is no safetensors file"),
        ("{run} {photos} --top 0", "--top is 0"),
        ("{run} {photos} --task x", "not learned on a task 'x'; it knows photos"),
        ("{run} {photos} --backbone ViT-B/61", "unknown backbone 'ViT-B/61'.*ViT-B/16"),
    ],
)
def test_wrong_input_ends_with_code_2_and_one_line(
    command, saved, photos, argv, message
):
    run = saved()
    code, out, err = command(argv.format(run=run, photos=photos))
    assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith("error: ")
    assert re.search(message, err)


def test_another_preprocessing_than_the_backbones_is_told(saved, caplog):
    load(saved(preprocessing={"size": 32, "crop": "crop"}))
    assert not caplog.records
    load(saved(preprocessing={"size": 32, "interpolation": "bilinear", "crop": "crop"}))
    assert caplog.messages == [
        "the prompt was learned with another preprocessing than stub's, and keeps it: interpolation bilinear, not bicubic"
    ]


# -- plain CLIP, and words that the backbone does not know -----------------------------------------------------------


def predict(capsys, words: str) -> tuple[int, str, str]:
    code = main(shlex.split(f"predict {words} --device cpu"))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_plain_clip(capsys, clip, photos):
    image = find_images([photos])[0]
    words = f"zeroshot {image} --backbone stub --classes 'cat,red brick' --json"
    for template in ("", "a sketch of the {}."):
        options = f"--template '{template}'" if template else ""
        code, out, _ = predict(capsys, f"{words} {options}")
        assert code == 0
        (record,) = json.loads(out)
        predictor = prompting.predict.load_zero_shot("stub")
        assert predictor.mode == "crop"
        plain = PromptedCLIP(clip, template=template or "a photo of a {}.")
        with torch.no_grad():
            logits = plain(predictor.prepare(image)[None], ["cat", "red brick"])
        found = {pair["class"]: pair["probability"] for pair in record["predictions"]}
        assert np.allclose(
            [found["cat"], found["red brick"]], logits.softmax(1)[0], atol=1e-5
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("zeroshot {photos}", "zeroshot needs --classes, the names to choose among"),
        (
            "zeroshot {photos} --classes cat,dog --task photos",
            "--task is of a prompt's training",
        ),
        (
            "zeroshot {photos} --classes cat,dog --template 'a photo'",
            "has no {} for the class name",
        ),
        ("{run} {photos} --template 'a {}'", "--template belongs to zeroshot"),
        (
            "zeroshot {photos} --classes cat,wren",
            "the backbone pocket knows few words, .*'wren' to .*ViT-B/16",
        ),
    ],
)
def test_wrong_words_about_plain_clip(capsys, saved, photos, words, message):
    words = words.replace("{run}", str(saved())).replace("{photos}", str(photos))
    code, out, err = predict(capsys, words)
    assert code == 2 and not out and re.search(message, err) and err.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_classes_in_a_file(capsys, saved, photos, tmp_path, encoding):
    (tmp_path / "names.txt").write_text("cat\nblue car\n", encoding=encoding)
    image, run = find_images([photos])[0], saved()
    answers = []
    for classes in (
        "'cat,blue car'",
        f"'@{tmp_path}/names.txt'",
        f"'cat,@{tmp_path}/car'",
    ):
        (tmp_path / "car").write_text("blue car")
        code, out, _ = predict(capsys, f"{run} {image} --classes {classes} --json")
        assert code == 0
        answers.append(json.loads(out))
    assert answers[0] == answers[1] == answers[2]
    names = {found["class"] for found in answers[0][0]["predictions"]}
    assert names == {"cat", "blue car"}


@pytest.mark.parametrize("classes", ["cat", "cat;car", "cat,", "@names.txt"])
def test_one_class_alone_is_refused(
    capsys, saved, photos, tmp_path, monkeypatch, classes
):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("cat, car\n")
    code, out, err = predict(capsys, f"{saved()} {photos} --classes '{classes}'")
    assert code == 2 and not out and "--classes names one class" in err


@pytest.mark.parametrize("other", ["Cat", "cat ", "c\u200bat", "cat"])
def test_classes_that_are_one_text_are_refused_from_python(saved, photos, other):
    predictor = prompting.load(saved())
    with pytest.raises(ValueError, match="are the same text to CLIP"):
        predictor.predict(find_images([photos]), classes=["cat", "car", other])


def test_unknown_words_with_force(capsys, photos, caplog):
    image = find_images([photos])[0]
    code, out, _ = predict(
        capsys, f"zeroshot {image} --classes wren,robin --json --force"
    )
    assert code == 0 and len(json.loads(out)) == 1
    assert caplog.text.count("'wren', 'robin'") == 1


def test_words_that_training_accepted_are_a_warning(saved, photos, caplog):
    backbone = prompting.load_backbone("pocket")
    width = clip_shape(backbone.clip).text_width
    trained = {"photos": ["wren", "robin"]}
    changes = {"backbone": "pocket", "classes": trained, "preprocessing": None}
    run = saved(TextPrompt(3, width), **changes)
    predictor = prompting.load(run)
    (answers,) = predictor.predict([find_images([photos])[0]])
    assert {name for name, _ in answers} == {"wren", "robin"}
    assert caplog.text.count("'wren', 'robin'") == 1
    with pytest.raises(ValueError, match="'wren', 'finch'"):
        predictor.predict([find_images([photos])[0]], classes=["wren", "finch"])


PLUGIN = """
from half_sizes import half

import torch
from prompting.prompts import Contexts, Prompt, register


@register
class HalvedPrompt(Prompt):
    kind = "halved"

    def __init__(self, n_ctx, width):
        super().__init__()
        self.ctx = torch.nn.Parameter(torch.ones(n_ctx, width))

    def contexts(self):
        return Contexts(text=half(self.ctx))

    def config(self):
        return {"kind": self.kind, "n_ctx": len(self.ctx), "width": self.ctx.shape[1]}
"""


def test_a_kind_of_prompt_is_imported_from_a_file(
    saved, photos, tmp_path, monkeypatch, capsys
):
    from prompting import prompts

    monkeypatch.setenv("MVLPT_IMPORT", "")
    monkeypatch.setattr(prompts, "PROMPT_KINDS", dict(prompts.PROMPT_KINDS))
    file = tmp_path / "halved.py"
    file.write_text(PLUGIN)
    (tmp_path / "half_sizes.py").write_text("def half(x):\n    return x / 2\n")
    plain = TextPrompt(3, 32, position=prompts.Prompt.position)
    torch.nn.init.constant_(plain.ctx, 0.5)
    image = photos / "a.png"
    assert main(shlex.split(f"predict {saved(plain)} {image} --format json")) == 0
    expected = json.loads(capsys.readouterr().out)

    import_file(str(file))
    run = saved(prompts.PROMPT_KINDS.pop("halved")(3, 32))
    assert main(shlex.split(f"predict {run} {image}")) == 2
    assert "'halved'" in capsys.readouterr().err
    given = f"predict {run} {image} --format json --import {file}"
    assert main(shlex.split(given)) == 0
    assert json.loads(capsys.readouterr().out) == expected
    assert main(shlex.split(f"predict {run} {image} --import {file}x")) == 2
    assert "--import: no file" in capsys.readouterr().err
