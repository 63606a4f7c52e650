"""Prompts on a fake Hub: the uploaded files, the card, and loading it again in another
process.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from prompting import hub, load, load_prompts
from prompting.__main__ import main
from tests.prompting import fake_hub, service

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import contextlib, io, json, os, sys
from prompting.__main__ import main
done = []
for argv in json.loads(sys.argv[1]):
    if argv[0] == "token":
        os.environ["HF_TOKEN"] = argv[1]
        done.append(None)
        continue
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""
RECORD = {
    "task": "shapes",
    "metric": "accuracy",
    "score": 75.0,
    "zero_shot": 50.0,
    "shots": 5,
    "seed": 0,
    "test_images": 100,
}


@pytest.fixture
def run(tmp_path):
    """Return a run's folder with a prompt and results."""
    folder = service.save_pocket_prompt(tmp_path / "run")
    (folder / "results.json").write_text(json.dumps([RECORD]))
    return folder


def prompting_commands(
    server: fake_hub.Hub, home: Path, *commands: str
) -> list[tuple[int, str, str]]:
    """Return exit code, output and errors of command lines, run by one process whose
    Hub is `server`.

    The Hub's address is read when huggingface_hub is imported; a command "token X"
    changes the token.
    """
    environment = os.environ | {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    words = [shlex.split(command) for command in commands]
    argv = [sys.executable, "-c", RUN, json.dumps(words)]
    done = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_push_and_load_again(run, tmp_path):
    image = tmp_path / "a.png"
    image.write_bytes(service.encoded_image(1))
    with fake_hub.running() as server:
        pushed, again, missing, _, refused = prompting_commands(
            server,
            tmp_path / "home",
            f"push {run} me/shapes --private",
            f"predict hf:me/shapes {image} --json",
            f"predict hf:me/others {image}",
            "token hf_wrong",
            f"push {run} me/shapes",
        )
    assert pushed == [0, f"{server.address}/me/shapes\n", ""]
    files = server.files["me/shapes"]
    assert (
        sorted(files) == ["README.md", "prompts.safetensors"]
        and server.private["me/shapes"] is True
    )
    assert files["prompts.safetensors"] == (run / "prompts.safetensors").read_bytes()
    assert files["README.md"].decode() == hub.model_card(
        run / "prompts.safetensors", "me/shapes"
    )
    assert again[0] == 0, again
    got = json.loads(again[1])[0]["predictions"]
    wanted = load(run).predict(image)[0]
    assert [pair["class"] for pair in got] == [name for name, _ in wanted]
    assert [pair["probability"] for pair in got] == pytest.approx(
        [p for _, p in wanted], abs=1e-6
    )
    read = {request.split()[1] for request in server.requests if "/resolve/" in request}
    only = {
        f"/me/{name}/resolve/main/prompts.safetensors" for name in ("shapes", "others")
    }
    assert read == only  # no code, no pickle, no configuration
    assert (
        missing[0] == 2
        and "can't download prompts.safetensors of hf:me/others" in missing[2]
    )
    assert refused[0] == 2 and "can't upload to me/shapes" in refused[2]


def test_card(run):
    card = hub.model_card(run / "prompts.safetensors", "me/shapes", "cc-by-4.0")
    head, text = card.removeprefix("---\n").split("---\n", 1)
    fields = yaml.safe_load(head)
    assert fields["license"] == "cc-by-4.0" and fields["library_name"] == "mvlpt"
    prompt, _ = load_prompts(run / "prompts.safetensors")
    assert (
        f"{sum(parameter.numel() for parameter in prompt.parameters()):,} numbers"
        in text
    )
    for line in (
        "| method | CoOp |",
        "| backbone | pocket |",
        "| classes of shapes | circle, square, star |",
        "| score on shapes | 75.0 % accuracy (95 % interval 65.7 to 82.5) (zero-shot 50.0 %), 5 shots, seed 0, "
        "100 test images |",
        'predictor = prompting.load("hf:me/shapes")',
    ):
        assert line in text


def test_wilson_interval():
    """Compare the interval of 15 of 20 with statsmodels'
    proportion_confint(method="wilson").
    """
    assert hub.wilson_interval(0.75, 20) == pytest.approx((0.53130, 0.88814), abs=2e-5)
    assert hub.wilson_interval(1.0, 10) == pytest.approx((0.72246, 1.0), abs=2e-5)


def test_names_of_classes_are_no_markup(tmp_path):
    from safetensors.torch import load_file

    from prompting import TextPrompt, save_prompts

    names = ["<script>alert(1)</script>", "a | b", "[x](http://y)", "line\n# head"]
    path = tmp_path / "prompts.safetensors"
    save_prompts(path, TextPrompt(2, 8), {"method": "CoOp", "classes": {"t": names}})
    assert load_file(path)
    card = hub.model_card(path, "me/x")
    assert (
        "<script>" not in card
        and "a \\| b" in card
        and "\n# head" not in card
        and "[x](" not in card
    )


@pytest.mark.parametrize(
    "name", ["shapes", "a/b/c", "", "../x/y", "a b/c", "https://x/y"]
)
def test_names_that_are_none_of_the_hub(name, run, capsys):
    assert main(["push", str(run), name]) == 2
    assert "is no model on the Hub; give USER/NAME" in capsys.readouterr().err
    with pytest.raises(ValueError, match="give USER/NAME"):
        load(f"hf:{name}")
