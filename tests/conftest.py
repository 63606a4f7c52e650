"""What all tests share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Features that runs keep in files lie in a folder of this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MVLPT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
