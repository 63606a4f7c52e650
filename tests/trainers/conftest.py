import re
import shlex
from pathlib import Path

import pytest
import tiny_world
import torch

import datasets  # noqa: F401  (makes `dassl` importable)
import train
import trainers
import trainers.features.store

QUICK = """\
DATALOADER: {TRAIN_X: {BATCH_SIZE: 8}, TEST: {BATCH_SIZE: 16}, NUM_WORKERS: 0}
OPTIM: {NAME: sgd, LR: 0.5, MAX_EPOCH: 2, LR_SCHEDULER: cosine, WARMUP_EPOCH: -1}
TEST: {FINAL_MODEL: best_val}
TRAINER:
  MVLPT: {PREC: fp32, PROJECT_DIM: 48, COOP: {N_CTX: 4}, VPT: {N_CTX: 2}}
  IVLP: {PROMPT_DEPTH_TEXT: 2, PROMPT_DEPTH_VISION: 2}
  MAPLE: {PROMPT_DEPTH: 2}
  TCP: {BLOCK: 1}
  SOFTCPT: {N_CTX: 4}
  MMRL: {N_REP_TOKENS: 2, REP_DIM: 8, REP_LAYERS: [1, 2]}
  MMRLPP: {N_REP_TOKENS: 2, REP_DIM: 8, REP_LAYERS: [1, 2], REP_RANK: 2, PROJ_RANK: 3}
  PROMPTSRC: {PROMPT_DEPTH_TEXT: 2, PROMPT_DEPTH_VISION: 2, GPA_MEAN: 2.0}
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """Return the data root of the toy tasks; no test writes to it."""
    return tiny_world.write_world(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Path:
    """Return a configuration file for two epochs."""
    path = tmp_path_factory.mktemp("configs") / "quick.yaml"
    path.write_text(QUICK)
    return path


@pytest.fixture(scope="session")
def stubs() -> dict:
    return {name: tiny_world.stub(name) for name in tiny_world.STUBS}


@pytest.fixture(scope="module", autouse=True)
def world(stubs):
    """Register the toy tasks and replace some backbones by random models while a
    module's tests run.
    """
    from dassl.data.datasets import DATASET_REGISTRY

    trainers.register_all()
    datasets.register_all()
    real = trainers.features.store.load_backbone

    def load_backbone(name, pretrained=None, device="cpu"):
        return stubs[name] if name in stubs else real(name, pretrained, device)

    classes = [datasets.register_task(cls) for cls in tiny_world.task_classes()]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainers.features.store, "load_backbone", load_backbone)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        trainers.features.store.get_backbone.cache_clear()
        yield
    torch.set_num_threads(threads)
    trainers.features.store.get_backbone.cache_clear()
    for cls in classes:
        del DATASET_REGISTRY._obj_map[cls.name]


@pytest.fixture(scope="session")
def main(root, quick, log_as_before):
    """Return a function that runs `train.py` with the words of a string, the data root
    and the quick configuration; it leaves logging as it was and returns the exit code.
    Several strings are one command.
    """

    def run(*command, data=root, config=quick) -> int:
        words = shlex.split(" ".join(map(str, command)))
        if config:
            words = ["--config-file", str(config), *words]
        if data:
            words = ["--root", str(data), *words]
        with log_as_before():
            return train.main(words)

    return run


@pytest.fixture
def build(root, quick, tmp_path):
    """Return a function that builds a trainer in-process, called as ("CoOp",
    "toy-shapes", "OPTIM.MAX_EPOCH", 3).
    """
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed

    from trainers.engine.config import resolve

    def make(
        trainer: str,
        tasks: str,
        *opts,
        shots: int = 5,
        seed: int = 0,
        out: Path = tmp_path / "built",
    ):
        flags = {
            "DATASET.ROOT": str(root),
            "OUTPUT_DIR": str(out),
            "DATASET.DATASET": tasks,
            "DATASET.NUM_SHOTS": shots,
            "SEED": seed,
            "DATASET.RANDOM_SEED_SAMPLING": seed,
        }
        cfg = resolve(trainer, [str(quick)], flags, [str(word) for word in opts])
        set_random_seed(seed)
        return build_trainer(cfg)

    return make


@pytest.fixture
def started(build):
    """Yield a function like `build`, whose trainer is ready for `loss` and the training
    loader; close the files of training.
    """
    running = []

    def make(*args, **options):
        trainer = build(*args, **options)
        trainer.before_train()
        running.append(trainer)
        return trainer

    yield make
    for trainer in running:
        trainer.bar.close()
        trainer.close_writer()


@pytest.fixture
def refuse(main, capsys, tmp_path):
    """Return a function that runs a command as `main` does, expects it to be refused,
    and returns the message.
    """

    def run(*command, **options) -> str:
        code = main(f"--output-dir {tmp_path}/out", *command, **options)
        captured = capsys.readouterr()
        assert code == 2
        assert "Traceback" not in captured.err + captured.out
        bars, mark, message = captured.err.partition("error: ")
        assert mark and bars[-1:] in ("", "\r", "\n"), (
            "the message starts a line of its own"
        )
        assert all(
            re.search(r"%\||: \d+/\d+ ", line) or not line.strip()
            for line in bars.splitlines()
        ), "one message, and nothing but progress before it"
        return re.sub(
            r"\r[^\n]*", "", message
        )  # without the codes that clear a progress bar

    return run


@pytest.fixture
def registries(monkeypatch):
    """Undo the imports and registrations of a test."""
    import dassl.data.datasets
    import dassl.engine

    from toolkit import plugin_files
    from toolkit.common import plugins

    monkeypatch.setenv(plugins.VARIABLE, "")
    # a copied folder is another package; only the registries are shared
    for registry in (
        dassl.data.datasets.DATASET_REGISTRY,
        dassl.engine.TRAINER_REGISTRY,
    ):
        monkeypatch.setattr(registry, "_obj_map", dict(registry._obj_map))
    monkeypatch.setattr(plugin_files, "PACKAGES", {})
    monkeypatch.setattr(plugin_files, "_notes", {})
    monkeypatch.setattr(plugin_files, "_replaced", {})
