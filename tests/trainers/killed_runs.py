"""Runs of train.py that end in SIGKILL, each in a process forked from this one, which
has imported everything.

    python killed_runs.py count FOLDER COMMAND          a whole run: how often something happened, and its seconds
    python killed_runs.py try FOLDER MOMENTS COMMAND

COMMAND is one string, the flags of train.py. MOMENTS is JSON: a list of cases, each a
list of moments at which the run is killed before it is resumed: a whole number n is
just before or after the n-th thing that happens (an optimiser's step, a file opened for
writing, a file moved into place), a number with a point is a time in seconds. Each case
has its own folder. One JSON list is printed.
"""

import builtins
import io
import json
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import torch

import datasets
import train
import trainers
import trainers.engine.provenance
import trainers.engine.resume

happened = 0


def watched(function, last: float, both: bool = True):
    """Return `function` that counts its calls, before and perhaps after, and kills the
    process at the `last`.
    """

    def tick() -> None:
        global happened
        happened += 1
        if happened == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def call(*args, **options):
        mode = (
            options.get("mode", args[1] if len(args) > 1 else "r")
            if function is io.open
            else "w"
        )
        counts = isinstance(mode, str) and set(mode) & set("wax")
        if counts:
            tick()
        result = real(*args, **options)
        if counts and both:
            tick()
        return result

    real = function
    return call


def run(folder: Path, command: str, moment: float | None, resume: bool) -> dict:
    """Run in a forked process; return exit code (negative: the signal), seconds and the
    number of events.
    """
    begun = time.monotonic()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.stdout = sys.stderr = open(f"{folder}.console", "a", encoding="utf-8")
            os.dup2(sys.stdout.fileno(), 1), os.dup2(sys.stdout.fileno(), 2)
            last = moment if isinstance(moment, int) else -1
            if isinstance(moment, float):
                timer = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            os.replace = watched(os.replace, last)
            torch.optim.Adam.step = watched(torch.optim.Adam.step, last, both=False)
            builtins.open = io.open = watched(io.open, last, both=False)
            flags = f"--output-dir {folder}"
            if resume:
                flags += " --resume auto"
            code = train.main(shlex.split(f"{flags} {command}"))
        finally:
            sys.stdout.flush()
            os.write(write, str(happened).encode())
            os._exit(code)
    os.close(write)
    _, status = os.waitpid(child, 0)
    count = os.read(read, 20)
    os.close(read)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - begun,
        "happened": int(count or 0),
    }


def main(what: str, folder: str, *words: str) -> None:
    trainers.register_all()
    datasets.register_all()
    trainers.engine.resume.SECONDS = 0  # a state after every step
    # whatever happens to the checkout meanwhile
    trainers.engine.provenance._commit = lambda: "the same"
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    if what == "count":
        found = [run(home / "whole", words[0], None, False)]
    else:
        found = []
        for number, moments in enumerate(json.loads(words[0])):
            out = home / f"case{number}"
            ends = [
                run(out, words[1], moment, index > 0)
                for index, moment in enumerate(moments)
            ]
            found.append([*ends, run(out, words[1], None, True)])
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
