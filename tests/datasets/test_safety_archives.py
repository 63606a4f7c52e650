"""Archives from anywhere: unpacking writes in its folder alone, over nothing, and no
more than an archive of data can hold.
"""

import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from datasets.tools import unpack as unpacking
from datasets.tools.unpack import check_form, unpack

OUTSIDE = (
    "../evil.txt",
    "images/../../evil.txt",
    "/evil.txt",
    "images/..",
    "..\\evil.txt",
)


def zipped(
    path: Path,
    members: dict[str, bytes],
    mode: int = 0,
    method: int = zipfile.ZIP_DEFLATED,
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, method
            archive.writestr(entry, content)
    return path


def tarred(path: Path, entries: list[tuple[str, bytes, dict]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content, fields in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in fields.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def refused(tmp_path):
    """Return a function that unpacks an archive in data/, expects a refusal, checks
    that nothing is left, and returns the message.
    """
    folder = tmp_path / "data"
    folder.mkdir()

    def run(archive: Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ValueError) as caught:
            unpack(archive, folder, ["images"])
        assert sorted(tmp_path.rglob("*")) == before
        return str(caught.value)

    run.folder = folder
    return run


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out(refused, kind, name):
    path = refused.folder / f"a.{'zip' if kind == 'zip' else 'tar.gz'}"
    if kind == "zip":
        zipped(path, {"images/1.png": b"1", name: b"evil"})
    else:
        tarred(path, [("images/1.png", b"1", {}), (name, b"evil", {})])
    assert "leads out of the folder" in refused(path)


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
    ],
)
def test_links_and_devices_in_a_tar(refused, kind):
    link = ("images/out", b"", {"type": kind, "linkname": "../.."})
    path = tarred(
        refused.folder / "a.tar.gz", [link, ("images/out/evil.txt", b"evil", {})]
    )
    assert "holds a link or device, 'images/out'" in refused(path)


def test_a_link_in_a_zip(refused):
    path = zipped(
        refused.folder / "a.zip", {"images": b"/etc"}, mode=stat.S_IFLNK | 0o777
    )
    assert "holds a link, 'images'" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(refused):
    path = refused.folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images/1.png", b"1")
        archive.writestr("images/1.png", b"2")
    assert "holds 'images/1.png' twice" in refused(path)


def test_names_that_differ_in_case_alone(tmp_path):
    path = zipped(
        tmp_path / "a.zip", {"images/a.png": b"small", "images/A.png": b"capital"}
    )
    try:
        unpack(path, tmp_path, ["images"])
    except ValueError as error:  # a disk on which they are one
        assert "names that are one on this disk" in str(error)
    else:
        assert (tmp_path / "images/a.png").read_bytes() == b"small"
        assert (tmp_path / "images/A.png").read_bytes() == b"capital"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 1000)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_far_more_than_the_archive_is_large(refused, small, kind):
    zeros = b"\0" * (1 << 20)
    path = refused.folder / f"bomb.{'zip' if kind == 'zip' else 'tgz'}"
    zipped(path, {"images/1.png": zeros}) if kind == "zip" else tarred(
        path, [("images/1.png", zeros, {})]
    )
    assert path.stat().st_size * unpacking.RATIO < len(zeros)
    assert refused(path).startswith(
        f"{path.name} is not unpacked: it holds 0.0 GB or more, too much for its size"
    )


def test_a_bomb_in_an_archive_in_an_archive(refused, small):
    inner = zipped(refused.folder / "inner.zip", {"images/1.png": b"\0" * (1 << 20)})
    path = zipped(
        refused.folder / "a.zip", {f"{k}.zip": inner.read_bytes() for k in range(3)}
    )
    inner.unlink()
    assert "is not unpacked" in refused(path)


def test_more_than_the_disk_has(refused, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0)
    )
    assert "or for the disk" in refused(
        zipped(refused.folder / "a.zip", {"images/1.png": b"1"})
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound(refused, method):
    path = zipped(refused.folder / "a.zip", {"images/1.png": b"1"}, method=method)
    assert "neither stored nor deflated" in refused(path)
    with pytest.raises(ValueError, match="neither stored nor deflated"):
        check_form(path, path.name)


def test_json_that_is_nested_without_end(tmp_path):
    path = tmp_path / "split.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError):
        check_form(path, path.name)
