"""The wheel in a new environment, and commands that run there."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def install(folder: Path) -> tuple[Path, Path]:
    """Build the wheel from the sdist and install it into a new environment; return the
    wheel and the folder of programs. torch and the rest are this environment's.
    """
    build = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    (wheel,) = (folder / "dist").glob("mvlpt-*.whl")
    assert list((folder / "dist").glob("mvlpt-*.tar.gz"))
    environment = folder / "fresh"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True
    )
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return wheel, environment / "bin"


def outside(folder: Path, *argv) -> str:
    """Return the output of a command that runs outside of the checkout."""
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONPATH"
    }
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [*map(str, argv)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
