"""Features of the frozen tower in files: found again, never wrong, never in the way."""

import hashlib
import io
import json
import logging
import multiprocessing
import os
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny_world
import torch
from PIL import Image
from run_files import prompt_in, read, same

import trainers.features.store
from datasets.task import Sample
from toolkit.common import archives
from trainers.engine.config import differences, load, resolve, without_local_paths
from trainers.features import disk_cache, fingerprints
from trainers.features.disk_cache import FeatureCache

DIGEST = "0123456789abcdef" * 4
SHAPE = (50, 16)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> Path:
    """Return an empty cache, with no features known in this process."""
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    trainers.features.store.get_backbone.cache_clear()
    disk_cache._reported.clear()
    return tmp_path / "cache" / "features"


@pytest.fixture
def encoded(stubs, monkeypatch) -> list[int]:
    """Return a list of the number of images in each call of the plain image tower."""
    clip, calls = stubs["pocket"].clip, []
    original = clip.encode_image

    def count(images, *args, **kwargs):
        calls.append(len(images))
        return original(images, *args, **kwargs)

    monkeypatch.setattr(clip, "encode_image", count, raising=False)
    return calls


def forget() -> None:
    """Act as if another process started."""
    trainers.features.store.get_backbone.cache_clear()
    disk_cache._reported.clear()


def array(rows: int = SHAPE[0], seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 16, generator=torch.Generator().manual_seed(seed))


# -- entries -----------------------------------------------------------------------------------------------------


def test_an_entry_is_found_again_bit_for_bit_and_is_a_plain_npy_file(home):
    FeatureCache(home, 10**6).save("toy", DIGEST, array())
    other = FeatureCache(home, 10**6)
    found = other.load("toy", DIGEST, SHAPE)
    assert found.dtype == torch.float32 and torch.equal(found, array())
    assert np.array_equal(np.load(other.path("toy", DIGEST)), array().numpy())
    assert (
        other.load("toy", DIGEST[::-1], SHAPE) is None
        and other.load("tay", DIGEST, SHAPE) is None
    )
    assert [path.name for path in home.iterdir()] == [f"toy-{DIGEST[:32]}.npy"]


def test_what_happens_to_the_features_does_not_reach_the_file(home):
    cache = FeatureCache(home, 10**6)
    cache.save("toy", DIGEST, array())
    cache.load("toy", DIGEST, SHAPE).zero_()
    assert torch.equal(FeatureCache(home, 10**6).load("toy", DIGEST, SHAPE), array())


DAMAGES = {
    "shorter": lambda content: content[:-7],
    "longer": lambda content: content + b"more",
    "empty": lambda content: b"",
    "text": lambda content: (
        b"not an array at all, but some text that is longer than a header would be" * 3
    ),
    "another shape": lambda content: content.replace(b"(50, 16)", b"(16, 50)"),
    "another type": lambda content: content.replace(b"<f4", b"|O4"),
    "header without end": lambda content: content.replace(
        b"'shape': (50, 16), }", b"'shape': (((((((((((("
    ),
    "header without text": lambda content: content[:10] + bytes(118) + content[128:],
    "version of the header": lambda content: content[:6] + b"\x02" + content[7:],
}


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("damage", [*DAMAGES, 0, 9, 60, 128, 700, 3327, 3328, -1])
def test_a_damaged_file_is_reported_and_made_again(home, caplog, damage):
    """Flip the bit at a position: in the header, the array or the checksum."""
    cache = FeatureCache(home, 10**6)
    cache.save("toy", DIGEST, array())
    path = cache.path("toy", DIGEST)
    content = path.read_bytes()
    changed = (
        DAMAGES[damage](content) if damage in DAMAGES else flipped(content, damage)
    )
    assert changed != content
    path.write_bytes(changed)
    with caplog.at_level(logging.WARNING):
        assert cache.load("toy", DIGEST, SHAPE) is None
    assert [path.name in record.message for record in caplog.records] == [True]
    assert "computed again" in caplog.text
    cache.save("toy", DIGEST, array())
    assert torch.equal(cache.load("toy", DIGEST, SHAPE), array())


def test_an_entry_serves_its_own_fingerprint_and_shape_only(home, caplog):
    cache = FeatureCache(home, 10**6)
    cache.save("toy", DIGEST, array())
    for other, shape in (
        (DIGEST[:-1] + "0", SHAPE),
        (DIGEST, (25, 32)),
        (DIGEST, (50, 15)),
    ):
        caplog.clear()
        shutil.copyfile(cache.path("toy", DIGEST), cache.path("other", other))
        assert cache.load("other", other, shape) is None
        assert caplog.text.count("computed again") == 1
    assert torch.equal(cache.load("toy", DIGEST, SHAPE), array())


OBSTACLES = {
    "fifo": os.mkfifo,
    "folder": os.mkdir,
    "full folder": lambda path: (path / "inside").mkdir(parents=True),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_is_no_file_is_reported_once_and_neither_read_nor_replaced(
    build, encoded, home, caplog, obstacle
):
    first = build("ZeroshotCLIP", "toy-shapes").predict("test")["toy-shapes"]
    (path,) = home.iterdir()
    path.unlink()
    OBSTACLES[obstacle](path)
    forget()
    with caplog.at_level(logging.WARNING):
        again = build("ZeroshotCLIP", "toy-shapes").predict("test")["toy-shapes"]
    assert torch.equal(again, first) and sum(encoded) == 18
    warnings = [
        record.message for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert (
        len(warnings) == 1
        and path.name in warnings[0]
        and "no regular file" in warnings[0]
    )
    # makes room, and leaves it there
    FeatureCache(home, 1000).save("small", DIGEST, array(1))
    assert path.exists()


def test_names_of_entries_are_names_of_files(home):
    cache = FeatureCache(home, 10**6)
    cache.save("own/photos: ärzte-test", DIGEST, array())
    assert (
        cache.path("own/photos: ärzte-test", DIGEST).name
        == f"own_photos_rzte-test-{DIGEST[:32]}.npy"
    )
    assert torch.equal(cache.load("own/photos: ärzte-test", DIGEST, SHAPE), array())


# -- limits ------------------------------------------------------------------------------------------------------


def fill(home: Path, labels: str, limit: int) -> None:
    """Write entries of about 3,400 bytes, a minute apart, the first one oldest, as
    another process would.
    """
    for age, label in enumerate(reversed(labels)):
        cache = FeatureCache(home, limit)
        cache.save(label, DIGEST, array())
        stamp = time.time() - 60 * (age + 1)
        os.utime(cache.path(label, DIGEST), (stamp, stamp))


def labels(home: Path) -> set[str]:
    return {path.name[0] for path in home.iterdir()}


def test_the_least_recently_used_make_room(home):
    fill(home, "abc", 12_000)
    FeatureCache(home, 12_000).load("a", DIGEST, SHAPE)  # used, and let go at once
    FeatureCache(home, 12_000).save("d", DIGEST, array())
    assert labels(home) == {"a", "c", "d"}


def test_what_is_in_use_stays_and_what_was_just_written_stays(home):
    fill(home, "abc", 12_000)
    held = {
        label: FeatureCache(home, 12_000).load(label, DIGEST, SHAPE)[:3]
        for label in "abc"
    }
    FeatureCache(home, 3_500).save("d", DIGEST, array())
    assert labels(home) == {"a", "b", "c", "d"}
    assert all(torch.equal(features, array()[:3]) for features in held.values())
    held.clear()
    FeatureCache(home, 3_500).save("e", DIGEST, array())
    assert labels(home) == {"e"}


def test_features_larger_than_the_cache_are_not_kept(home):
    fill(home, "a", 12_000)
    FeatureCache(home, 12_000).save("b", DIGEST, array(5000))
    assert labels(home) == {"a"}


def test_unfinished_files_of_dead_processes_are_removed(home):
    fill(home, "a", 12_000)
    for name, age in (("old", 2 * disk_cache.STALE), ("new", 0)):
        (home / f".{name}.tmp").write_bytes(b"half")
        os.utime(home / f".{name}.tmp", (time.time() - age, time.time() - age))
    FeatureCache(home, 12_000).save("b", DIGEST, array())
    assert {path.name for path in home.glob(".*")} == {".new.tmp"}


def test_a_folder_that_cannot_be_written_costs_one_warning(home, caplog, build):
    home.parent.mkdir()
    home.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        first = build("ZeroshotCLIP", "toy-shapes").predict("test")
        build("ZeroshotCLIP", "toy-pets").predict("test")
    assert caplog.text.count("features are not kept") == 1
    assert first["toy-shapes"].shape == (9, 3)


def test_a_full_disk_leaves_nothing_behind(home, caplog, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_cache.os, "replace", full)
    with caplog.at_level(logging.WARNING):
        FeatureCache(home, 10**6).save("a", DIGEST, array())
    assert "No space left" in caplog.text and not list(home.iterdir())


def _write_often(home: str, times: int) -> None:
    for _ in range(times):
        cache = FeatureCache(home, 10**8)
        cache.save("toy", DIGEST, array(3000))
        if not torch.equal(cache.load("toy", DIGEST, (3000, 16)), array(3000)):
            raise ValueError("not what was written")


def test_processes_may_write_and_read_the_same_entry_at_once(home, caplog):
    context = multiprocessing.get_context("fork")
    writers = [
        context.Process(target=_write_often, args=(str(home), 30)) for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = FeatureCache(home, 10**8).load("toy", DIGEST, (3000, 16))
        assert found is None or torch.equal(found, array(3000))
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [path.suffix for path in home.iterdir()] == [
        ".npy"
    ] and "damaged" not in caplog.text


# -- dependencies of entries ------------------------------------------------------------------------------------


def write_images(
    folder: Path, first: bytes = b"one", second: bytes = b"two"
) -> list[Sample]:
    """Write a file and a zip with a member, all with the same dates, and return them."""
    (folder / "a").mkdir(parents=True, exist_ok=True)
    (folder / "a" / "1.png").write_bytes(first)
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("2.png"), second)
    for path in (folder / "a" / "1.png", folder / "b.zip"):
        os.utime(path, ns=(10**18, 10**18))
    return [
        Sample(f"{folder}/a/1.png", (0,), "a/1.png"),
        Sample(f"{folder}/b.zip@2.png", (1,), "b.zip@2.png"),
    ]


def test_the_fingerprint_of_images_is_that_of_their_content_in_order(tmp_path):
    images = write_images(tmp_path / "here")
    known = fingerprints.of_images(images)
    assert known == fingerprints.of_images(write_images(tmp_path / "there"))
    assert known not in (
        fingerprints.of_images(images[::-1]),
        fingerprints.of_images(images[:1]),
    )
    for name, contents in (
        ("c", (b"eno", b"two")),
        ("d", (b"one", b"owt")),
        ("e", (b"two", b"one")),
    ):
        assert known != fingerprints.of_images(write_images(tmp_path / name, *contents))
    write_images(tmp_path / "here", b"eno")  # the same size and date
    assert known != fingerprints.of_images(images)
    write_images(tmp_path / "here")
    assert known == fingerprints.of_images(images)
    os.utime(tmp_path / "here" / "a" / "1.png", ns=(10**18, 10**18 + 1))
    assert known == fingerprints.of_images(images)


def test_labels_and_names_of_images_play_no_part_in_their_fingerprint(tmp_path):
    images = write_images(tmp_path)
    others = [Sample(image.impath, (7, 2), "x", "cat", 3) for image in images]
    assert fingerprints.of_images(images) == fingerprints.of_images(others)


def test_images_that_cannot_be_read_have_a_fingerprint(tmp_path):
    images = write_images(tmp_path)
    known = fingerprints.of_images(images)
    (tmp_path / "a" / "1.png").unlink()
    os.mkfifo(tmp_path / "a" / "1.png")
    missing = [
        Sample(str(tmp_path / "gone.png"), (0,), "gone.png"),
        Sample(f"{tmp_path}/b.zip@3.png", (0,), "3.png"),
    ]
    assert known != fingerprints.of_images(images)
    assert fingerprints.of_images([images[0], images[0]]) == fingerprints.of_images(
        missing
    )


def test_a_file_is_hashed_once_as_long_as_it_is_the_same(tmp_path, monkeypatch):
    images, read = write_images(tmp_path), []
    original = archives.read_bytes
    monkeypatch.setattr(
        archives, "read_bytes", lambda path: (read.append(path), original(path))[1]
    )
    for _ in range(3):
        fingerprints.of_images(images)
    assert read == [images[0].impath]  # of a zip's member the directory is read
    write_images(tmp_path, b"eno")
    fingerprints.of_images(images)
    assert read == [images[0].impath] * 2


def test_the_fingerprint_of_a_tower_is_that_of_tensors_and_structure():
    tower = tiny_world.tiny_clip().visual
    known = fingerprints.of_tower(tower)
    assert known == fingerprints.of_tower(tiny_world.tiny_clip().visual.train())
    tower.transformer.resblocks[1].attn.num_heads = 2
    assert known != fingerprints.of_tower(tower)
    tower.transformer.resblocks[1].attn.num_heads = 4
    assert known == fingerprints.of_tower(tower)
    tower.conv1.weight.data[0, 0, 0, 0] += 1e-3
    assert known != fingerprints.of_tower(tower)


def test_a_second_process_encodes_no_test_image(build, encoded):
    build("CoOp", "toy-shapes").predict("test")
    assert sum(encoded) == 9
    forget()
    build("CoOp", "toy-shapes").predict("test")
    assert sum(encoded) == 9
    build("CoOp", "toy-shapes").predict("val")
    assert sum(encoded) > 9


@pytest.mark.parametrize(
    "opts",
    [
        (
            "INPUT.FROM_BACKBONE",
            "False",
            "INPUT.SIZE",
            "[32, 32]",
            "INPUT.PIXEL_STD",
            "[0.5, 0.5, 0.5]",
        ),
        ("DATASET.CENTER_CROP", "True"),
        ("TRAINER.MVLPT.PREC", "bf16"),
    ],
)
def test_other_settings_have_other_entries(build, encoded, home, opts):
    build("CoOp", "toy-pets").predict("test")
    forget()
    build("CoOp", "toy-pets", *opts).predict("test")
    assert sum(encoded) == 2 * 9 and len(list(home.iterdir())) == 2


def test_a_changed_image_is_noticed(build, encoded, root, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(root, data)

    def scores():
        forget()
        return build("ZeroshotCLIP", "toy-pets", "DATASET.ROOT", data).predict("test")[
            "toy-pets"
        ]

    before = scores()
    assert torch.equal(scores(), before) and sum(encoded) == 9
    image = (
        data
        / "pets"
        / "images"
        / json.loads((data / "pets" / "split.json").read_text())["test"][4][0]
    )
    image.write_bytes(tiny_world.noise_image(np.random.default_rng(99), (2,), (32, 32)))
    after = scores()
    assert sum(encoded) == 18
    assert [k for k in range(9) if not torch.equal(before[k], after[k])] == [4]


@pytest.mark.parametrize("suffix", ["bmp", "ppm", "tiff"])
def test_images_that_change_without_changing_size_or_date_are_noticed(
    build, root, tmp_path, suffix
):
    """Use two data sets of one name, with the same names, sizes and dates of files."""
    split = json.loads((root / "pets" / "split.json").read_text())

    def scores(place: str, seed: int) -> torch.Tensor:
        forget()
        rng, images = np.random.default_rng(seed), tmp_path / place / "pets" / "images"
        images.mkdir(parents=True, exist_ok=True)
        lists = {}
        for name, items in split.items():
            lists[name] = [
                [f"{name}-{k}.{suffix}", *item[1:]] for k, item in enumerate(items)
            ]
            for image, *_ in lists[name]:
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(images / image)
                os.utime(images / image, ns=(10**18, 10**18))
        (tmp_path / place / "pets" / "split.json").write_text(json.dumps(lists))
        return build(
            "ZeroshotCLIP", "toy-pets", "DATASET.ROOT", tmp_path / place
        ).predict("test")["toy-pets"]

    first = scores("one", 0)
    other = scores("one", 1)
    assert not torch.isclose(first, other, atol=1e-6).all(dim=1).any()
    assert torch.equal(scores("two", 0), first) and torch.equal(scores("two", 1), other)


def test_an_entry_in_the_place_of_another_task_s_is_not_used(
    build, encoded, home, caplog
):
    def scores() -> list[torch.Tensor]:
        forget()
        return [
            build("ZeroshotCLIP", name).predict("test")[name]
            for name in ("toy-shapes", "toy-pets")
        ]

    before = scores()
    assert [len(values) for values in before] == [9, 9] and sum(encoded) == 18
    one, other = sorted(home.iterdir())
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1]), other.write_bytes(contents[0])
    with caplog.at_level(logging.WARNING):
        after = scores()
    assert all(map(torch.equal, before, after)) and sum(encoded) == 36
    assert caplog.text.count("its checksum is wrong") == 2
    assert (one.read_bytes(), other.read_bytes()) == contents


def test_few_shot_draws_are_not_kept_in_files(build, home):
    trainer = build("CoOp", "toy-shapes", "OPTIM.MAX_EPOCH", 1)
    trainer.train()
    assert {path.name.rpartition("-")[0] for path in home.iterdir()} == {
        "toy-shapes-test"
    }
    trainer = build("CoOp", "toy-shapes", "OPTIM.MAX_EPOCH", 1, shots=-1)
    trainer.train()
    names = {path.name.rpartition("-")[0] for path in home.iterdir()}
    assert names == {"toy-shapes-test", "toy-shapes-train", "toy-shapes-val"}


# -- runs --------------------------------------------------------------------------------------------------------


def test_predictions_are_the_same_bytes_with_a_cold_cache_a_warm_one_and_none(
    main, tmp_path, encoded
):
    written, prompts, seen = [], [], []
    for name, flags in (("none", "--no-cache"), ("cold", ""), ("warm", "")):
        forget()
        encoded.clear()
        out = tmp_path / name
        command = (
            "--trainer MCoOp --dataset toy-shapes,toy-scenes --shots 3 "
            f"--output-dir {out}"
        )
        assert main(f"{command} {flags}") == 0
        written.append(
            [path.read_bytes() for path in sorted((out / "predictions").iterdir())]
        )
        prompts.append(prompt_in(out))
        seen.append(sum(encoded))
    assert len(written[0]) == 2 and written[0] == written[1] == written[2]
    assert same(prompts[0], prompts[1]) and same(prompts[0], prompts[2])
    # the test images of both tasks
    assert seen[0] == seen[1] and seen[2] == seen[1] - 9 - 8


def test_caching_makes_no_other_run(main, tmp_path, home):
    out = tmp_path / "run"
    command = f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {out}"
    assert main(command) == 0
    before = read(out / "results.json")
    stamp = (out / "results.json").stat().st_mtime_ns
    assert main(f"{command} --no-cache CACHE.MAX_GB 1") == 0  # reused
    assert (out / "results.json").stat().st_mtime_ns == stamp and read(
        out / "results.json"
    ) == before
    assert "CACHE:" not in (out / "config.yaml").read_text()
    cfg = resolve(
        "CoOp", [str(out / "config.yaml")], {"CACHE.DIR": str(tmp_path / "x")}, []
    )
    assert cfg.CACHE.FEATURES and str(tmp_path) not in without_local_paths(cfg).dump()
    assert not [
        key
        for key in differences(load(out / "config.yaml"), cfg)
        if key.startswith("CACHE")
    ]


def test_the_cache_lies_where_it_is_told(build, home, tmp_path):
    build("ZeroshotCLIP", "toy-shapes", "CACHE.DIR", tmp_path / "elsewhere").predict(
        "test"
    )
    assert (
        len(list((tmp_path / "elsewhere" / "features").iterdir())) == 1
        and not home.exists()
    )
    build("ZeroshotCLIP", "toy-pets", "CACHE.FEATURES", "False").predict("test")
    assert not home.exists()


def test_limits_are_checked(refuse):
    base = "--trainer CoOp --dataset toy-shapes --shots 2"
    assert "CACHE.MAX_GB" in refuse(f"{base} CACHE.MAX_GB -1")
    assert "INPUT.CACHED_VIEWS" in refuse(f"{base} INPUT.CACHED_VIEWS -2")


# -- augmented views ---------------------------------------------------------------------------------------------

AUGMENTED = ("INPUT.TRANSFORMS", '["random_resized_crop", "random_flip", "normalize"]')


def test_augmented_views_are_encoded_once_and_taken_in_turn(started, encoded):
    trainer = started(
        "CoOp", "toy-pets", *AUGMENTED, "INPUT.CACHED_VIEWS", 3, "OPTIM.MAX_EPOCH", 5
    )
    count = len(trainer.sets["train"])
    assert trainer.cached and sum(encoded) == 3 * count
    features = trainer.train_loader_x.dataset
    taken = []
    for trainer.epoch in range(5):
        trainer.before_epoch()
        taken.append(features.features.clone())
        trainer.run_epoch()
    assert sum(encoded) == 3 * count
    assert torch.equal(taken[0], taken[3]) and torch.equal(taken[1], taken[4])
    assert not torch.allclose(taken[0], taken[1]) and not torch.allclose(
        taken[1], taken[2]
    )


def test_views_depend_on_the_seed_and_leave_random_numbers_alone(build):
    def views(seed: int, workers: int = 0) -> torch.Tensor:
        loading = ("DATALOADER.NUM_WORKERS", workers, "DATALOADER.TEST.BATCH_SIZE", 2)
        trainer = build(
            "CoOp", "toy-pets", *AUGMENTED, "INPUT.CACHED_VIEWS", 2, *loading
        )
        trainer.cfg.defrost()
        trainer.cfg.SEED = seed
        state = torch.get_rng_state() if not workers else None
        found = trainer._constant_items().views
        assert state is None or torch.equal(state, torch.get_rng_state())
        return found

    assert torch.equal(views(0), views(0)) and torch.equal(
        views(0), views(0, workers=1)
    )
    assert not torch.allclose(views(0), views(1))


def test_views_need_a_tower_without_prompts(started):
    trainer = started("VPT", "toy-pets", *AUGMENTED, "INPUT.CACHED_VIEWS", 2)
    assert not trainer.cached


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hostile",)


def test_pickled_objects_in_an_entry_are_not_made(home, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cache = FeatureCache(home, 10**9)
    home.mkdir(parents=True)
    stream = io.BytesIO()
    np.lib.format.write_array(
        stream, np.array([[Hostile()]], dtype=object), version=(1, 0)
    )
    checksum = hashlib.sha256(stream.getvalue() + DIGEST.encode()).digest()
    cache.path("a", DIGEST).write_bytes(stream.getvalue() + checksum)
    for values in range(1, 64):
        assert cache.load("a", DIGEST, (1, values)) is None
    assert not (tmp_path / "hostile").exists()
