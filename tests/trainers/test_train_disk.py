"""Runs when the disk is full: they lose the present epoch, and never a file that was
good.
"""

import builtins
import contextlib
import fcntl
import fnmatch
import io
import json
import re
import subprocess
from pathlib import Path

import pytest
import torch
from run_files import state_of

from prompting import load_prompts
from trainers.base import PromptTrainer
from trainers.engine import resume
from trainers.engine import run_dir as locks

TWO_STAGES = (
    "--trainer MCoOp --source toy-shapes --dataset toy-marks,toy-scenes --shots 3"
)
KINDS = (
    "config.yaml",
    "*fewshot/toy-shapes.json",
    "*model-best.pth.tar*",
    "*model.pth.tar-2*",
    "*prompt_learner/checkpoint*",
    "*resume.pth.tar*",
    "*predictions/*toy-marks.json",
    "*adapt/toy-scenes/results.json",
    "*source/prompts.safetensors",
    "run/predictions/*toy-scenes.json",
    "run/submission.zip",
    "run/results.md",
    "run/results.json",
)


@pytest.fixture
def disk(tmp_path):
    """Yield a file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def whole(main, tmp_path_factory):
    """Return the files of a run on a disk with enough space."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert main(f"{TWO_STAGES} --output-dir {out}") == 0
    return file_contents(out)


def file_contents(folder: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, (_, content) in state_of(folder).items()
        if not name.rpartition("/")[2].startswith(("log.txt", "events."))
    }


def fill(disk: Path) -> None:
    """Take all room that is left."""
    with (
        contextlib.suppress(OSError),
        real_open(disk / "filler", "ab", buffering=0) as file,
    ):
        while True:
            file.write(bytes(4096))


real_open = io.open


@contextlib.contextmanager
def full_at(pattern: str, disk: Path, monkeypatch):
    """Yield a function that fills the disk when a file is opened for writing whose path
    matches, such as run/source/results.json; files that are moved count by their new
    path.
    """

    def opened(file, mode="r", *args, **options):
        if set(mode) & set("wax") and str(file).startswith(str(disk)):
            path = Path(file)
            name = re.sub(r"\.[0-9a-f]{8}\.tmp$", "", path.name.removeprefix("."))
            if fnmatch.fnmatch(
                str(path.with_name(name).relative_to(disk)), f"*{pattern}"
            ):
                reached.append(name)
                fill(disk)
        return real_open(file, mode, *args, **options)

    reached: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        patch.setattr(io, "open", opened)
        yield reached


def check_good(folder: Path) -> None:
    """Expect every existing file to be whole."""
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.name.endswith(".pth.tar") or ".pth.tar-" in path.name:
            torch.load(path, weights_only=True)
        elif path.suffix == ".safetensors":
            load_prompts(path)
        assert not path.name.endswith((".tmp", ".part")), path


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_last_good_state(
    main, whole, disk, monkeypatch, capsys, kind
):
    out = disk / "run"
    with full_at(kind, disk, monkeypatch) as reached:
        code = main(f"{TWO_STAGES} --output-dir {out}")
    error = capsys.readouterr().err
    assert reached, "nothing of this kind was written"
    assert (
        code == 1
        and "No space left on device" in error
        and "--resume auto" in error
        and "Traceback" not in error
    )
    check_good(out)
    (disk / "filler").unlink()
    assert main(f"{TWO_STAGES} --output-dir {out} --resume auto") == 0
    assert file_contents(out) == whole


def test_the_state_of_the_epoch_before_is_kept(main, disk, monkeypatch, capsys):
    out, saved = disk / "run", []
    save = resume.save

    def second_fails(trainer, epoch, losses=()):
        if epoch == 2:
            fill(disk)
        save(trainer, epoch, losses)
        saved.append(epoch)

    monkeypatch.setattr(resume, "save", second_fails)
    run = (
        f"--trainer VPT --dataset toy-marks --shots 3 --output-dir {out} "
        "OPTIM.MAX_EPOCH 3"
    )
    assert main(run) == 1 and saved == [1]
    assert (
        "1 of 3 epochs are kept, the present epoch is lost" in capsys.readouterr().err
    )
    assert torch.load(out / resume.STATE, weights_only=True)["epoch"] == 1


def test_curves_that_cannot_be_written_end_the_run_as_any_other_file(
    main, whole, disk, monkeypatch, capsys
):
    def fill_first(trainer, *args):
        fill(disk)
        write(trainer, *args)
        trainer._writer.flush()

    write = PromptTrainer.write_scalar
    with monkeypatch.context() as patch:
        patch.setattr(PromptTrainer, "write_scalar", fill_first)
        assert main(f"{TWO_STAGES} --output-dir {disk}/run") == 1
    error = capsys.readouterr().err
    assert (
        "No space left on device" in error
        and "--resume auto" in error
        and "Traceback" not in error
    )
    (disk / "filler").unlink()
    assert main(f"{TWO_STAGES} --output-dir {disk}/run --resume auto") == 0
    assert file_contents(disk / "run") == whole


def test_a_folder_that_cannot_be_written_is_wrong_input(main, disk, capsys):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert (
        main(f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {disk}/run")
        == 2
    )
    error = capsys.readouterr().err
    assert (
        "Read-only file system" in error
        and str(disk / "run") in error
        and "Traceback" not in error
    )


def test_two_processes_do_not_work_in_one_folder(main, tmp_path, capsys):
    out = tmp_path / "run"
    run = f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {out}"
    assert main(run) == 0 and not (out / locks.LOCK).exists()
    before = state_of(out)
    # another process, as far as the system can tell
    with open(out / locks.LOCK, "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for more in ("", "--overwrite", "--resume auto"):
            assert main(f"{run} {more}") == 2
            assert "another process is at work" in capsys.readouterr().err
    (out / locks.LOCK).unlink()
    assert state_of(out) == before


def test_a_lock_that_a_killed_process_left_locks_nothing(main, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / locks.LOCK).touch()
    assert main(f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {out}") == 0
    assert not (out / locks.LOCK).exists()
