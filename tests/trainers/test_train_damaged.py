"""Files of a run that are deleted, cut or have a flipped byte: named and made again, or
named and refused.
"""

import shutil
from pathlib import Path

import pytest
from run_files import state_of

from trainers.base import PromptTrainer

ONE = (
    "--trainer CoOp --dataset toy-marks --shots 3 OPTIM.MAX_EPOCH 3 "
    "TRAIN.CHECKPOINT_FREQ 1"
)
STAGED = "--trainer MUPT --source toy-shapes,toy-pets --dataset toy-marks --shots 2"
INPUTS = ("config.yaml", "manifest.json", "fewshot/toy-marks.json")
LEARNER = ("model-best.pth.tar", "checkpoint", "model.pth.tar-1", "model.pth.tar-2")
TABLES = (
    "results/predictions.csv",
    "results/classes_toy-marks.csv",
    "results/confusion_toy-marks.csv",
)
OUTPUTS = (
    "results.json",
    "prompts.safetensors",
    "predictions/seed0_toy-marks.json",
    *TABLES,
)
FINISHED = [
    *INPUTS,
    *OUTPUTS,
    *(f"prompt_learner/{name}" for name in (*LEARNER, "model.pth.tar-3")),
]
INTERRUPTED = [
    *INPUTS,
    *(f"prompt_learner/{name}" for name in (*LEARNER, "resume.pth.tar")),
]
TOP = ["config.yaml", "manifest.json", "results.json", "results.md", "submission.zip"]
STAGES = [
    *TOP,
    "predictions/seed0_toy-marks.json",
    "source/prompt_learner/model-best.pth.tar",
    "source/results.json",
    "source/prompts.safetensors",
    "adapt/toy-marks/prompt_learner/model-best.pth.tar",
    "adapt/toy-marks/results.json",
    "adapt/toy-marks/predictions/seed0_toy-marks.json",
]
LONG = pytest.mark.long


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file but log and curves."""
    found = state_of(folder).items()
    return {
        name: content
        for name, (_, content) in found
        if not name.rpartition("/")[2].startswith(("log", "events"))
    }


@pytest.fixture(scope="module")
def finished(main, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("damaged") / "run"
    assert main(f"--output-dir {out} {ONE}") == 0
    assert {"manifest.json", *FINISHED} == set(files(out))
    return out


@pytest.fixture(scope="module")
def interrupted(main, tmp_path_factory) -> Path:
    """Return a run that ended in its third epoch."""
    out = tmp_path_factory.mktemp("interrupted") / "run"
    before = PromptTrainer.before_epoch

    def before_epoch(trainer):
        if trainer.epoch == 2:
            raise FloatingPointError("the end")
        before(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PromptTrainer, "before_epoch", before_epoch)
        assert main(f"--output-dir {out} {ONE}") == 1
    assert set(INTERRUPTED) == set(files(out))
    return out


@pytest.fixture(scope="module")
def staged(main, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("staged") / "run"
    assert main(f"--output-dir {out} {STAGED}") == 0
    assert set(STAGES) < set(files(out))
    return out


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "deleted":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )


def check(
    main, capsys, run: Path, out: Path, argv: str, name: str, kind: str, expected: dict
) -> None:
    """Damage a file in a copy of a run: it ends as an undisturbed one, or with an error
    that names the file.
    """
    shutil.copytree(run, out)
    damage(out / name, kind)
    capsys.readouterr()
    before = files(out)
    code = main(f"--output-dir {out} {argv}")
    message = capsys.readouterr()
    if code == 2:
        assert files(out) == before
        assert name in message.err or "--resume auto" in message.err
    else:
        assert code == 0 and files(out) == expected
    code = main(f"--output-dir {out} --resume auto {argv}")
    message = capsys.readouterr()
    if code == 2:
        raise AssertionError(message.err)
    else:
        assert code == 0 and files(out) == expected


def marked(names: list[str], quick: set[tuple[str, str]]) -> list:
    """Return all cases; those that are not among the quick ones are long."""
    cases = []
    for name in names:
        for kind in ("deleted", "cut", "flipped"):
            marks = [] if (name, kind) in quick else [LONG]
            cases.append(pytest.param(name, kind, marks=marks))
    return cases


QUICK_FINISHED = {
    ("prompt_learner/model-best.pth.tar", "deleted"),
    ("prompt_learner/model-best.pth.tar", "flipped"),
    ("results.json", "cut"),
    ("results.json", "flipped"),
    ("prompts.safetensors", "flipped"),
    ("config.yaml", "flipped"),
    ("manifest.json", "deleted"),
    ("manifest.json", "cut"),
}
QUICK_INTERRUPTED = {
    ("prompt_learner/model-best.pth.tar", "deleted"),
    ("prompt_learner/resume.pth.tar", "cut"),
    ("prompt_learner/resume.pth.tar", "flipped"),
    ("prompt_learner/model.pth.tar-1", "flipped"),
    ("config.yaml", "deleted"),
    ("config.yaml", "cut"),
}
QUICK_STAGED = {
    ("submission.zip", "flipped"),
    ("source/prompt_learner/model-best.pth.tar", "cut"),
    ("adapt/toy-marks/predictions/seed0_toy-marks.json", "deleted"),
}


@pytest.mark.parametrize(("name", "kind"), marked(FINISHED, QUICK_FINISHED))
def test_a_damaged_file_of_a_finished_run(main, finished, tmp_path, capsys, name, kind):
    check(main, capsys, finished, tmp_path / "run", ONE, name, kind, files(finished))


@pytest.mark.parametrize(("name", "kind"), marked(INTERRUPTED, QUICK_INTERRUPTED))
def test_a_damaged_file_of_an_interrupted_run(
    main, finished, interrupted, tmp_path, capsys, name, kind
):
    check(main, capsys, interrupted, tmp_path / "run", ONE, name, kind, files(finished))


@pytest.mark.parametrize(("name", "kind"), marked(STAGES, QUICK_STAGED))
def test_a_damaged_file_of_two_stages(main, staged, tmp_path, capsys, name, kind):
    check(main, capsys, staged, tmp_path / "run", STAGED, name, kind, files(staged))


def test_what_is_damaged_is_named(main, finished, tmp_path, capsys, caplog):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for name in ("results.json", "predictions/seed0_toy-marks.json"):
        damage(out / name, "flipped")
    assert main(f"--output-dir {out} {ONE}") == 2
    message = capsys.readouterr().err
    assert (
        "results.json" in message
        and "seed0_toy-marks.json" in message
        and "--resume auto" in message
    )
    assert main(f"--output-dir {out} --resume auto {ONE}") == 0
    assert (
        "damaged or missing: predictions/seed0_toy-marks.json, results.json"
        in caplog.text
    )
    assert "tested again with its best prompt" in caplog.text
    assert files(out) == files(finished)
