"""`python -m scripts.parity`: our modules and losses against numbers of an independent
implementation.
"""

import shlex

import numpy as np
import pytest

from scripts.parity import METHODS
from scripts.parity.__main__ import main
from tests.prompting.method_files import CONFIGS, write_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the file of a method, by its name; its backbone is beside it."""
    folder = tmp_path_factory.mktemp("methods")
    return {method: write_files(method, folder) for method in CONFIGS}


@pytest.mark.parametrize("method", CONFIGS)
def test_a_method_computes_what_the_file_says(files, capsys, method):
    assert main(shlex.split(f"{method} {files[method]}")) == 0
    out = capsys.readouterr().out
    assert out.startswith("a_case: logits ")
    for kind in ("terms", "gradients", "step losses", "after three steps"):
        assert f", {kind} " in out


def test_a_methods_name_may_be_the_trainers(files, capsys):
    assert main(shlex.split(f"KgCoOp {files['kgcoop']}")) == 0
    assert "largest difference: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["logits", "terms/l1_text", "grad/image_encoder.VPT", "after3/prompt_learner.ctx"],
)
def test_another_number_is_found(files, tmp_path, capsys, name):
    with np.load(files["promptsrc"]) as stored:
        arrays = dict(stored)
    arrays[f"a_case/{name}"] = arrays[f"a_case/{name}"] + np.float32(1e-2)
    np.savez(tmp_path / "other.npz", **arrays)
    backbone = str(files["promptsrc"].with_name("backbone_a.npz"))
    assert (
        main(shlex.split(f"promptsrc {tmp_path}/other.npz --backbone {backbone}")) == 1
    )
    assert "largest difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "file", "message"),
    [
        ("ivlp", "gone.npz", "no file"),
        ("ivlp", "text.npz", "is no .npz file"),
        ("ivlp", "empty.npz", "holds no cases"),
        ("maple", "ivlp.npz", "are 'maple'"),
        ("kgcoop", "ivlp.npz", "lacks 'w'"),
        ("ivlp", "backbone_a.npz", "holds no cases"),
    ],
)
def test_wrong_input_is_one_sentence(files, capsys, method, file, message):
    folder = files["ivlp"].parent
    (folder / "text.npz").write_text("no archive")
    np.savez(folder / "empty.npz", a=np.zeros(1))
    assert main(shlex.split(f"{method} {folder}/{file}")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_an_unknown_method_ends_with_code_2(files):
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(f"mapel {files['ivlp']}"))
    assert ended.value.code == 2


def test_the_command_offers_every_method():
    assert sorted(METHODS) == sorted(CONFIGS)
