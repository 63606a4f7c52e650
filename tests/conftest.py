"""Fixtures and flags that all tests share."""

import contextlib
import logging
import sys

import pytest

from tests.fresh_environment import install


def pytest_addoption(parser):
    """Name the trainer or task of the contract tests: `pytest tests/contracts --import
    my_method.py --trainer MyMethod`.
    """
    group = parser.getgroup("contracts")
    group.addoption(
        "--trainer", action="append", default=[], help="a registered trainer"
    )
    group.addoption("--task", action="append", default=[], help="a registered data set")
    group.addoption("--root", default="", help="data root of --task")
    group.addoption(
        "--import",
        action="append",
        default=[],
        dest="imports",
        help="a file that registers them",
    )


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Keep features of runs in a folder of this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MVLPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def log_as_before():
    """Return a context in which a command may set up its log; afterwards logging and
    sys.stdout are as before.
    """

    @contextlib.contextmanager
    def restored():
        stream, handlers, level = (
            sys.stdout,
            logging.root.handlers[:],
            logging.root.level,
        )
        try:
            yield
        finally:
            for handler in [
                handler for handler in logging.root.handlers if handler not in handlers
            ]:
                logging.root.removeHandler(handler)
                handler.close()
            sys.stdout = stream
            logging.root.setLevel(level)

    return restored


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Return a folder outside of the checkout, the wheel, and the programs of a new
    environment that it is installed in.
    """
    folder = tmp_path_factory.mktemp("install")
    return folder, *install(folder)
