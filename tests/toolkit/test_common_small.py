"""Suggestions, exit codes and random states of toolkit/common; and that it imports none
of our other packages.
"""

import ast
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from prompting.tokens import plain_name
from toolkit.common import text
from toolkit.common.class_names import require_distinct
from toolkit.common.cli import BAD_INPUT, FAILED, OK, STOPPED, NotDone, run_command
from toolkit.common.plain_values import get_random_state, set_random_state
from toolkit.common.suggest import did_you_mean, nearest

ROOT = Path(__file__).resolve().parents[2]


def test_nearest_names_whatever_their_case():
    known = ["OxfordPets", "Flowers102", "Food101"]
    assert nearest("oxfordpet", known) == ["OxfordPets"]
    assert nearest("FOOD102", known, count=2) == ["Food101", "Flowers102"]
    assert nearest("zzz", known, cutoff=0.6) == []
    assert did_you_mean("food", known) == "did you mean 'Food101'?"
    assert did_you_mean("food", []) == ""


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("no such key"), BAD_INPUT, "error: no such key\n"),
        (FileNotFoundError("no file a"), BAD_INPUT, "error: no file a\n"),
        (NotDone("2 of 3 runs failed"), FAILED, "error: 2 of 3 runs failed\n"),
        (BrokenPipeError(), OK, ""),
        (KeyboardInterrupt(), STOPPED, "stopped\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(
    capsys, monkeypatch, error, code, message
):
    monkeypatch.delenv("MVLPT_DEBUG", raising=False)
    monkeypatch.setattr(sys, "stdout", sys.stdout)

    def command() -> None:
        raise error

    assert run_command(command) == code
    assert capsys.readouterr().err == message
    assert run_command(lambda: None) == OK and run_command(lambda: 3) == 3


def test_random_states_are_restored():
    state = get_random_state()
    first = random.random(), np.random.rand(), torch.rand(1).item()
    set_random_state(state)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first


def test_common_imports_none_of_our_other_packages():
    for file in (ROOT / "toolkit" / "common").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            ours = (
                "datasets",
                "prompting",
                "trainers",
                "elevater_eval",
                "scripts",
                "dassl",
                "toolkit.dassl",
                ".",
            )
            assert not [name for name in names if name.startswith(ours)], file


def test_reading_an_image_needs_no_torchvision():
    code = "import sys, toolkit.common.images; sys.exit('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_that_cannot_show_a_name_gets_it_escaped(encoding):
    code = "import sys; from toolkit.common.cli import run_command; run_command(lambda: print('a\\u65e5\\udce9 b'))"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True
    )
    shown = "日" if encoding == "utf-8" else "\\u65e5"
    assert (
        done.returncode == 0
        and done.stdout.decode(encoding).strip() == f"a{shown}\\udce9 b"
    )


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.skipif(os.name != "posix", reason="Windows has one encoding of names")
@pytest.mark.parametrize("name", ["Vögel", "鳥", "rot ä"])
def test_a_command_line_in_an_ascii_locale(name):
    """Expect a refusal: the classes would be other texts."""
    code = "import sys; from toolkit.common.cli import run_command; sys.exit(run_command(lambda: print('ran')))"
    for environment, returncode in ((ASCII, 2), (ASCII | {"PYTHONUTF8": "1"}, 0)):
        done = subprocess.run(
            [sys.executable, "-c", code, "--classes", name],
            env=os.environ | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == returncode
        assert (done.stdout == "") == ("set PYTHONUTF8=1" in done.stderr)


@pytest.mark.parametrize("name", ["a\udce9", "\udcc3\udca4b", "plain"])
@pytest.mark.parametrize("known", ["utf-8", "ascii", "iso8859-1"])
def test_names_of_files_that_are_not_understood(monkeypatch, name, known):
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: known)
    advice = "rename it" if known == "utf-8" else "set PYTHONUTF8=1"
    if name == "plain":
        text.require_text(name, "photos")
        return
    with pytest.raises(ValueError, match=f"^photos: the name b.*{advice}$"):
        text.require_text(name, "photos")


def test_a_hint_at_the_encoding(monkeypatch):
    assert text.hint("no file Vögel") == ""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    assert "PYTHONUTF8=1" in text.hint("no file Vögel")
    assert "PYTHONUTF8=1" in text.hint("'ascii' codec can't encode character")
    assert text.hint("no file birds") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("night_bird", "night bird"),
        ("Boat", "boat"),
        ("caf\u00e9", "cafe\u0301"),
        ("R&amp;D", "r&d"),
        ("a  b", "a b"),
        ("\ufb01n whale", "fin whale"),
        ("\uff36\uff41\uff4e", "van"),
        ("men\u2019s shoe", "men's shoe"),
        ("T - shirt", "t-shirt"),
        ("boeing 747", "boeing 7 47"),
    ],
)
def test_names_that_are_one_text_to_clip(one, other):
    with pytest.raises(
        ValueError,
        match="--classes: the classes .* are the same text to CLIP; rename one of them",
    ):
        require_distinct(["fox", one, "cat", other], "--classes")
    require_distinct(["fox", one, "foxes"], "--classes")
    tokenizer = SimpleTokenizer()
    assert tokenizer.encode(plain_name(one)) == tokenizer.encode(plain_name(other))


@pytest.mark.parametrize("invisible", ["\u200b", "\ufeff", "\u00ad", "\u202e"])
def test_names_that_differ_in_what_cannot_be_seen(invisible):
    with pytest.raises(ValueError, match="the classes 'cat' and .* are the same text"):
        require_distinct(["cat", f"cat{invisible}"], "table.csv")


def test_names_that_clip_tells_apart():
    names = [
        "t shirt",
        "t-shirt",
        "tshirt",
        "t.shirt",
        "747",
        "7-47",
        "caf\u00e9",
        "cafe",
    ]
    require_distinct(names, "--classes")
    tokenizer = SimpleTokenizer()
    assert len({tuple(tokenizer.encode(name)) for name in names}) == len(names)
