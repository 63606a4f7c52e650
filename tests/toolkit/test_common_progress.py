"""Progress: bars that fit a terminal, lines in a log."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest
from tqdm.utils import disp_len

from toolkit.common import progress as module
from toolkit.common.progress import ProgressLines, progress
from toolkit.common.text import spreadsheet_text


@pytest.fixture
def clock(monkeypatch):
    """Yield a clock whose seconds pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    yield now
    monkeypatch.setattr(module.time, "monotonic", time.monotonic)


def written(monkeypatch, stream) -> io.StringIO:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return stream


def test_in_a_log_there_is_a_line_for_every_tenth(monkeypatch, clock):
    stream = written(monkeypatch, io.StringIO())
    with progress(total=50, desc="CoOp digits", unit="epoch", leave=False) as bar:
        for epoch in range(50):
            clock[0] += 2
            bar.set_postfix_str(f"loss {epoch}", refresh=False)
            bar.update()
    lines = stream.getvalue().splitlines()
    assert "\r" not in stream.getvalue() and len(lines) == 10
    assert lines[0] == "CoOp digits: 5/50 epochs, 00:10, loss 4" and lines[
        -1
    ].startswith("CoOp digits: 50/50 epochs")


def test_slow_work_has_a_line_after_thirty_seconds_and_quick_work_has_none(
    monkeypatch, clock
):
    stream = written(monkeypatch, io.StringIO())
    slow = progress(total=1000, desc="a", unit="step")
    for _ in range(100):
        clock[0] += 1
        slow.update()
    assert stream.getvalue().splitlines() == [
        f"a: {done}/1000 steps, {time}"
        for done, time in ((30, "00:30"), (60, "01:00"), (90, "01:30"))
    ]
    assert list(progress(range(5), desc="b")) == [0, 1, 2, 3, 4]
    assert "b:" not in stream.getvalue()


def test_a_number_of_items_need_not_be_known(monkeypatch, clock):
    stream = written(monkeypatch, io.StringIO())
    bar = ProgressLines(desc="c", unit="image")
    for _ in range(2):
        clock[0] += 40
        bar.update(7)
    assert stream.getvalue().splitlines() == [
        "c: 7 images, 00:40",
        "c: 14 images, 01:20",
    ]


SCRIPT = """
import sys
from toolkit.common.progress import progress
with progress(total=20, desc=sys.argv[1], unit="epoch") as bar:
    for _ in range(20):
        bar.set_postfix_str("loss 0.123 best val 98.76", refresh=False)
        bar.update()
"""


@pytest.mark.parametrize("columns", [40, 100])
@pytest.mark.parametrize(
    "label", ["MVPT pocket-digits", "MVPT " + "鳥" * 24, "x" * 500]
)
def test_a_bar_fits_its_terminal(columns, label):
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "TQDM_DISABLE")
    }
    subprocess.run(
        [sys.executable, "-c", SCRIPT, label],
        stderr=end,
        env=environment | {"PYTHONIOENCODING": "utf-8"},
        check=True,
        timeout=60,
    )
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    frames = [frame for frame in re.split(r"[\r\n]", shown) if frame.strip()]
    assert frames and max(map(disp_len, frames)) <= columns
    assert label[:10] in frames[-1] and "20/20" in frames[-1]
    if len(label) < 24:
        assert "loss 0.1" in frames[-1]
        assert ("%|" in frames[-1]) == (columns == 100)


@pytest.mark.parametrize("name", ["=1+1", "+A1", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_text_that_a_spreadsheet_would_compute_gets_a_quote(name):
    assert spreadsheet_text(name) == "'" + name


def test_other_text_has_none():
    for name in ("", "a=b", "night bird", "3-d", "'quoted"):
        assert spreadsheet_text(name) == name
