"""Makes dassl importable for this folder and gives its toy data."""

import pytest

import toolkit  # noqa: F401  (puts dassl on the path, hence the later imports)


@pytest.fixture(scope="session")
def image_root(tmp_path_factory):
    """Return a folder with the toy dataset's images."""
    from dassl_toy import write_images

    root = tmp_path_factory.mktemp("toy")
    write_images(root)
    return root


@pytest.fixture
def cfg(image_root, tmp_path):
    """Return a configuration of the toy run, with its output in ``tmp_path``."""
    from dassl_toy import toy_config

    return toy_config(image_root, tmp_path / "run")
