"""Mutated files and command lines end in one sentence: no traceback, no hang, nothing
changed.

Seeded, so that a failure can be repeated; the reading functions and command lines are
called in this process.
"""

import contextlib
import itertools
import json
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml
from bad_inputs import PAGE
from test_bad_inputs import Commands, state, write_world

import datasets
import trainers
from datasets import build_task
from datasets.few_shot import check_record
from datasets.io.index_files import read_coco, read_iris
from datasets.io.split_files import read_split
from elevater_eval.predictions import read_predictions
from elevater_eval.reading import read_entries
from prompting.checkpoints.prompt_files import load_prompts, save_prompts
from prompting.prompts import TextPrompt
from scripts.study import plan_file, protocol
from trainers.engine import config
from trainers.engine.config import resolve
from trainers.engine.stages import read_groups
from trainers.features.disk_cache import FeatureCache

SECONDS = 20
# one message, exit code 2
REFUSALS = (ValueError, FileNotFoundError, NotADirectoryError, PermissionError)
BYTES = [
    b"\x00",
    b"\xff",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"|",
    b"{",
    b"[",
    b"]",
    b"}",
    b":",
    b"-",
    b"#",
    b"&a",
    b"*a",
]
BYTES += [
    b"NaN",
    b"1e999",
    b"null",
    b"true",
    b"../",
    b"/etc/passwd",
    b"\xef\xbb\xbf",
    b"9" * 5000,
    b"[" * 3000,
]
VALUES = [
    None,
    True,
    -1,
    0,
    10**30,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    "x\x1b[31m",
    "../..",
    "\ud800"[:0],
    "a,b",
]
VALUES += [
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    [1, "a", None],
    {"1": 2},
    "folder:nowhere",
    "9" * 400,
    "*",
    "${x}",
    "a\nerror: b",
]


@contextlib.contextmanager
def limited(what: str):
    """Fail if a block takes longer than `SECONDS`."""

    def stop(*_) -> None:
        raise TimeoutError(f"{what} takes more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return content with one to three places cut, flipped, doubled, or replaced by
    bytes that readers trip over.
    """
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content) + 1)
        end = min(len(content), place + chance.choice([1, 2, 8, 40]))
        kind = chance.randrange(5)
        if kind == 0:
            content = content[:place] + content[end:]
        elif kind == 1:
            content = content[:place] + chance.choice(BYTES) + content[end:]
        elif kind == 2:
            content = content[:end] + content[place:]
        elif kind == 3:
            content = content[:place]
        elif place < len(content):
            content = (
                content[:place]
                + bytes([content[place] ^ (1 << chance.randrange(8))])
                + content[place + 1 :]
            )
    return content


def mutated_value(value, chance: random.Random):
    """Return a structure in which one value is another, of another kind, missing, or
    given twice.
    """
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        changed = dict(value)
        kind = chance.random()
        if kind < 0.1:
            del changed[key]
        elif kind < 0.2:
            changed[
                chance.choice(["", "x", key.upper() if isinstance(key, str) else "y"])
            ] = changed.pop(key)
        else:
            changed[key] = mutated_value(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.85:
        place = chance.randrange(len(value))
        kind = chance.random()
        if kind < 0.1:
            return value[:place] + value[place + 1 :]
        if kind < 0.2:
            return [*value, value[place]]
        return [
            *value[:place],
            mutated_value(value[place], chance),
            *value[place + 1 :],
        ]
    return chance.choice(VALUES)


def attempt(read, path: Path, what: str) -> None:
    """Call a reading function; a refusal must be one printable sentence with something
    in it.
    """
    with limited(what):
        try:
            read(path)
        except REFUSALS as error:
            message = str(error)
            assert message.strip(), what
            assert "Traceback" not in message, what


def tasks_of(kind: str, folder: Path):
    cfg = resolve("CoOp", [], {"DATASET.DATASET": "x", "DATASET.ROOT": str(folder)}, [])
    return lambda path: build_task(cfg, f"{kind}:{path}")


def settings_of(folder: Path):
    """Return a function that reads the YAML beside a folder of custom images."""
    build = tasks_of("folder", folder)
    return lambda path: build(path.with_suffix(""))


SUBMITTED = {
    "model_name": "m",
    "dataset_name": "patch-camelyon",
    "num_trainable_params": 1,
    "num_params": 3,
    "num_visual_params": 1,
    "num_backbone_params": 2,
    "n_shot": 5,
    "rnd_seeds": [0],
    "predictions": [[[0.25, 0.75], [0.5, 0.5]]],
}
COCO = {
    "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"image_id": 1, "category_id": 1},
        {"image_id": 2, "category_id": 2},
    ],
}
PLAN = {
    "output_dir": "out",
    "retries": 1,
    "resources": {"cpus": 1},
    "runs": [
        {
            "name": "a",
            "methods": ["CoOp", "MCoOp"],
            "sources": ["pocket-tiles"],
            "targets": ["pocket-digits"],
            "shots": [1, 5],
            "seeds": [0, 1],
            "options": {"OPTIM.LR": [0.01, 0.1]},
        }
    ],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return the folder with data sets, runs' files, and an example for every reading
    function.
    """
    trainers.register_all()
    datasets.register_all()
    folder = tmp_path_factory.mktemp("fuzz")
    write_world(folder)
    (folder / "photos.yaml").write_text(
        "name: pictures\nnames: {cat: tabby, dog: hound}\ntemplates: ['a {}.']\n"
    )
    pets = json.loads(
        (folder / "data/oxford_pets/split_zhou_OxfordPets.json").read_text()
    )
    run_config = resolve("CoOp", [], {"DATASET.DATASET": "pocket-digits"}, [])
    examples = {
        "coco.json": COCO,
        "split.json": pets,
        "record.json": {
            "task": "photos",
            "shots": 1,
            "seed": 0,
            "train": ["train/cat/0.png"],
            "val": [],
        },
        "predictions.json": SUBMITTED,
        "plan.yaml": PLAN,
        "groups.yaml": {"photos": ["table"], "table": []},
        "config.yaml": yaml.safe_load(run_config.dump()),
        "settings.yaml": {
            "OPTIM": {"LR": 0.1, "NAME": "sgd"},
            "TRAINER": {"NAME": "CoOp"},
            "INPUT": {"SIZE": [48, 48]},
        },
        "protocol.yaml": yaml.safe_load((protocol.FOLDER / "pocket.yaml").read_text()),
    }
    for name, value in examples.items():
        text = json.dumps(value) if name.endswith(".json") else yaml.safe_dump(value)
        (folder / name).write_text(text)
    for name in ("a.png", "b.png"):
        shutil.copyfile(folder / "photos/train/cat/0.png", folder / name)
    (folder / "index.txt").write_text("a.png 0\nb.png 1\n")
    (folder / "labels.txt").write_text("cat\ndog\n")
    return folder


def readers(folder: Path) -> dict:
    """Return the example that is mutated -> the function that reads it."""
    known = ["photos", "table"]
    return {
        "table.csv": tasks_of("csv", folder),
        "photos.yaml": settings_of(folder),
        "coco.json": lambda path: read_coco(str(folder), path.name),
        "index.txt": lambda path: read_iris(str(folder), path.name, "labels.txt"),
        "labels.txt": lambda path: read_iris(str(folder), "index.txt", path.name),
        "split.json": lambda path: read_split(
            str(path), str(folder / "data/oxford_pets/images")
        ),
        "record.json": lambda path: check_record(str(path), ["photos"]),
        "predictions.json": read_predictions,
        "plan.yaml": plan_file.read,
        "groups.yaml": lambda path: read_groups(str(path), known),
        "config.yaml": config.load,
        "settings.yaml": lambda path: resolve("CoOp", [str(path)], {}, []),
        "protocol.yaml": lambda path: protocol.load(str(path)),
    }


@pytest.mark.long
def test_2000_mutated_tables_and_settings(world):
    chance = random.Random(13)
    todo = readers(world)
    for number in range(2000):
        name = chance.choice(list(todo))
        path = world / name
        content = path.read_bytes()
        changed = mutated_bytes(content, chance)
        if path.suffix in (".json", ".yaml") and chance.random() < 0.6:
            value = mutated_value(yaml.safe_load(content), chance)
            text = (
                json.dumps(value)
                if path.suffix == ".json"
                else yaml.safe_dump(value, allow_unicode=True)
            )
            changed = text.encode("utf-8", "surrogatepass")
        try:
            path.write_bytes(changed)
            attempt(todo[name], path, f"{number}: {name}: {changed[:300]!r}")
        except Exception as error:
            raise AssertionError(
                f"{number}: {name}: {type(error).__name__}: {error}: {changed[:1500]!r}"
            ) from error
        finally:
            path.write_bytes(content)


@pytest.mark.long
def test_predictions_that_are_read_in_parts(world):
    chance = random.Random(14)
    path = world / "predictions.json"
    content = path.read_bytes()
    for number in range(200):
        path.write_bytes(mutated_bytes(content, chance))
        attempt(lambda file: list(read_entries([file])), path, str(number))
    path.write_bytes(content)


@pytest.mark.long
def test_500_mutated_prompt_and_cache_files(tmp_path):
    """Read mutated files: a prompt is refused, or has its numbers; a cache entry is
    whole, or is computed again.
    """
    chance = random.Random(15)
    prompt = TextPrompt(4, 16)
    file = tmp_path / "prompts.safetensors"
    save_prompts(
        file,
        prompt,
        {"method": "CoOp", "backbone": "pocket", "classes": {"a": ["cat", "dog"]}},
    )
    written = file.read_bytes()
    for number in range(250):
        file.write_bytes(mutated_bytes(written, chance))
        with limited(str(number)):
            try:
                loaded, _ = load_prompts(file)
            except REFUSALS as error:
                assert "prompts.safetensors" in str(error), error
                continue
        assert torch.equal(loaded.ctx, prompt.ctx), number
    features = torch.arange(40.0).view(10, 4)
    cache = FeatureCache(tmp_path / "cache", 10**6)
    cache.save("a test", "f" * 40, features)
    path = cache.path("a test", "f" * 40)
    entry = path.read_bytes()
    for number in range(250):
        changed = mutated_bytes(entry, chance)
        path.unlink()
        path.write_bytes(changed)
        with limited(str(number)):
            loaded = cache.load("a test", "f" * 40, (10, 4))
        assert loaded is None or torch.equal(loaded, features), (
            f"{number}: a changed entry was used"
        )
        assert loaded is None or changed == entry


KEYS = {
    "OPTIM.LR": ["-3", "nan", "inf", "x", "[]", "True"],
    "OPTIM.MAX_EPOCH": ["-1", "0", "1.5", "x", "[1]", "None"],
    "OPTIM.NAME": ["5", "SGDD", "[]", "''"],
    "OPTIM.WEIGHT_DECAY": ["-1", "nan", "x"],
    "OPTIM.MOMENTUM": ["-1", "2", "nan", "x"],
    "OPTIM.ADAM_BETA1": ["1", "-1", "nan"],
    "OPTIM.STEPSIZE": ["x", "[]", "[a,b]", "1.5"],
    "OPTIM.WARMUP_TYPE": ["lineer", "5"],
    "OPTIM.WARMUP_EPOCH": ["x", "1.5", "[1]"],
    "OPTIM.GAMMA": ["0", "-1", "nan", "inf"],
    "INPUT.SIZE": ["0", "-5", "[48,32]", "x", "[]", "99999"],
    "INPUT.PIXEL_STD": ["[0,0,0]", "[1]", "x", "[1,1,nan]"],
    "INPUT.PIXEL_MEAN": ["[a,b,c]", "[1,2]", "[]"],
    "INPUT.INTERPOLATION": ["lanczos", "5"],
    "INPUT.TRANSFORMS": ["[flip]", "5", "[[]]", "randm_flip"],
    "DATALOADER.TRAIN_X.BATCH_SIZE": ["0", "-1", "x", "1.5"],
    "DATALOADER.NUM_WORKERS": ["-1", "99999", "x"],
    "DATALOADER.TRAIN_X.SAMPLER": ["SequentialSampler", "x"],
    "DATALOADER.TRAIN_U.BATCH_SIZE": ["5"],
    "DATASET.NUM_SHOTS": ["-2", "x", "1.5"],
    "DATASET.SUBSAMPLE_CLASSES": ["some", "5"],
    "DATASET.MULTITASK_EVALKEY": ["nosuch", "5"],
    "DATASET.CIFAR_C_LEVEL": ["3"],
    "MODEL.HEAD.NAME": ["mlp"],
    "MODEL.BACKBONE.NAME": ["nosuch", "5", "/nowhere/x.pt"],
    "TEST.SPLIT": ["train", "5", "''"],
    "TEST.FINAL_MODEL": ["best", "5"],
    "TEST.EVALUATOR": ["Detection"],
    "TRAIN.COUNT_ITER": ["train_u"],
    "TRAINER.MVLPT.PREC": ["fp64", "5"],
    "TRAINER.MVLPT.COOP.N_CTX": ["-1", "0", "77", "99999999999", "x"],
    "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": ["begin", "5"],
    "TRAINER.FIXMATCH.WEIGHT_U": ["2.0"],
    "CACHE.MAX_GB": ["-1", "nan", "inf", "x"],
    "SEED": ["-5", "99999999999", "x", "1.5"],
    "NOSUCH.KEY": ["1"],
    "optim.lr": ["0.1"],
}
KEYS_OF_TRAINERS = {
    "TCP": {
        "TRAINER.TCP.N_CTX": ["0", "-4", "78", "1e9", "[4]"],
        "TRAINER.TCP.BLOCK": ["-1", "99", "x", "0.5"],
        "TRAINER.TCP.W": ["-8", "nan", "inf", "x"],
        "TRAINER.COOP.CSC": ["True"],
        "TRAINER.TCP.WW": ["1"],
    },
    "MMRL": {
        "TRAINER.MMRL.N_REP_TOKENS": ["0", "-5", "1000000", "x"],
        "TRAINER.MMRL.REP_DIM": ["0", "-1", "1000000", "1.5"],
        "TRAINER.MMRL.REP_LAYERS": ["[]", "[0]", "[2,1]", "[1,1]", "[99]", "[a]", "x"],
        "TRAINER.MMRL.ALPHA": ["-0.1", "1.1", "nan", "x"],
        "TRAINER.MMRL.REG_WEIGHT": ["-1", "inf"],
        "TRAINER.MMRLPP.BETA": ["0.5"],
    },
    "MMRLPP": {
        "TRAINER.MMRLPP.BETA": ["-1", "2", "nan"],
        "TRAINER.MMRLPP.REP_RANK": ["0", "-3", "10000000", "x"],
        "TRAINER.MMRLPP.PROJ_RANK": ["0", "10000000", "1.5"],
        "TRAINER.MMRLPP.REP_LAYERS": ["[3,2]", "5.5", "None"],
        "TRAINER.MMRL.ALPHA": ["0.5"],
    },
    "APT": {
        "TEST.HALF_WEIGHT_SHOTS": ["-1", "nan", "inf", "x"],
        "TRAINER.APT.CLASS_OFFSETS": ["5", "maybe"],
        "TRAINER.ANCHOR.KL": ["-0.1", "nan", "x"],
        "TRAINER.ANCHOR.TEXT_L2": ["inf", "-1"],
        "TRAINER.ANCHOR.TO": ["nothing", "5"],
        "TRAINER.ANCHOR.TEMPLATES": ["mine"],
        "TRAINER.ANCHOR.ADAPTIVE": ["2"],
        "TRAINER.MVLPT.COOP.N_CTX": ["4"],
        "TRAINER.MVLPT.VPT.N_CTX": ["-1", "0", "100000"],
    },
}
FLAGS = {
    "--seed": ["-7", "99999999999", "1.5", "''"],
    "--shots": ["-3", "x", "1e3"],
    "--load-epoch": ["3", "x"],
    "--model-dir": ["nowhere", "text.txt", "photos"],
    "--backbone": ["ViT-B/17", "./nowhere", "photos", "/dev/null"],
    "--config-file": ["nowhere.yaml", "photos", "text.txt", "/dev/null/x"],
    "--groups": ["nowhere.yaml", "photos", "text.txt"],
    "--fewshot": ["nowhere", "text.txt", "table.csv"],
    "--resume": ["nowhere", "text.txt", "photos"],
    "--trainer": ["COOP", "''", "5", "Co Op"],
    "--dataset": [
        "','",
        "''",
        "folder:",
        "csv:photos",
        "folder:table.csv",
        "photos",
        "folder:photos,folder:photos",
        "@text.tx",
    ],
    "--source": ["','", "''", "nosuch"],
    "--multi-task-evalkey": ["nosuch", "5"],
    "--output-dir": ["text.txt", "text.txt/a", "/dev/null/a"],
    "--head": ["mlp"],
    "--transforms": ["nosuch", "5"],
    "--target-domains": ["a"],
    "--act-ckpt": ["x"],
    "--nosuch": ["5"],
}


def wrong_command_lines() -> list[str]:
    """Return 150 command lines, each with one wrong flag or key among right ones: 100
    of CoOp, 50 of newer trainers.
    """
    chance = random.Random(16)
    flags = [f"{flag} {value}" for flag, values in FLAGS.items() for value in values]
    lines = [command(words, "") for words in flags]
    lines += [command("", words) for words in pairs(KEYS)]
    chance.shuffle(lines)
    of_trainers = []
    for trainer, keys in KEYS_OF_TRAINERS.items():
        of_trainers += [command(f"--trainer {trainer}", words) for words in pairs(keys)]
    chance.shuffle(of_trainers)
    return lines[:100] + of_trainers[:50]


def pairs(keys: dict[str, list[str]]) -> list[str]:
    """Return "KEY VALUE" for each value of each key."""
    return [f"{key} {value}" for key, values in keys.items() for value in values]


def command(flag: str, pair: str) -> str:
    """Return a right command line but for a flag and a KEY VALUE pair."""
    base = {
        "--trainer": "CoOp",
        "--dataset": "folder:photos",
        "--shots": "2",
        "--seed": "1",
    }
    base.pop(flag.partition(" ")[0], None)
    given = " ".join(itertools.chain.from_iterable(base.items()))
    return f"train.py {given} {flag} OPTIM.MAX_EPOCH 1 {pair}"


@pytest.mark.long
def test_150_wrong_command_lines(world, tmp_path, monkeypatch, capsys, log_as_before):
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Commands(capsys, log_as_before)
    before = state(here)
    found = []
    documented = PAGE.read_text(encoding="utf-8")
    for line in wrong_command_lines():
        assert " ".join(line.split()) not in documented
        with limited(line):
            try:
                code, out, err = run(line)
            except Exception as error:  # noqa: BLE001 - all are collected
                found.append(f"{line}: {type(error).__name__}: {error}")
                continue
        messages = [text for text in err.splitlines() if "error: " in text]
        if code != 2 or len(messages) != 1 or "Traceback" in out + err:
            found.append(f"{line}: exit code {code}: {err[-300:]!r}")
        if state(here) != before:
            found.append(f"{line}: files were changed")
            shutil.rmtree(here / "output", ignore_errors=True)
            before = state(here)
    torch.set_num_threads(threads)
    assert not found, "\n".join(found)


def test_mutations_are_the_same_each_time():
    first = [mutated_bytes(b"path,label\n", random.Random(seed)) for seed in range(20)]
    again = [mutated_bytes(b"path,label\n", random.Random(seed)) for seed in range(20)]
    assert first == again
    assert len(set(first)) > 10
    lines = wrong_command_lines()
    assert len(set(lines)) == 150 and lines == wrong_command_lines()
    for trainer in ("CoOp", *KEYS_OF_TRAINERS):
        assert any(f"--trainer {trainer} " in line for line in lines)
