"""`python -m datasets download`, against a web server of this process that can stop,
refuse and lie.
"""

import base64
import gzip
import hashlib
import http.server
import io
import json
import re
import shlex
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest

from datasets.__main__ import main
from datasets.catalog import entries as catalogue
from datasets.catalog.entries import Entry
from datasets.tools.download import fetch
from datasets.tools.unpack import check_form, unpack
from toolkit.common.cli import NotDone


class Server:
    """Serves `files` (path -> content) and keeps `requests` as (path, Range header)."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True  # understand Range
        # so many bytes of the next answers, then the connection ends
        self.cuts: list[int] = []
        self.errors: list[int] = []  # status of the next answers
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        ).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        content = self.files.get(handler.path)
        status = (
            self.errors.pop(0) if self.errors else 200 if content is not None else 404
        )
        if status != 200:
            handler.send_error(status)
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if asked and self.ranges and handler.headers.get("If-Range", tag) == tag:
            start, status = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), 206
            if start >= len(content):
                handler.send_error(416)
                return
        handler.send_response(status)
        if status == 206:
            handler.send_header(
                "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
        handler.send_header("Content-Length", str(len(content) - start))
        handler.send_header("ETag", tag)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        body = content[start:]
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        handler.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


def zipped(members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(members) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


CONTENT = bytes(range(256)) * 40


def names(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


# -- one file ----------------------------------------------------------------------------------------------------


def test_file_arrives_whole_and_alone(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    assert (
        fetch(f"{server.url}/a.bin", tmp_path / "deep" / "a.bin").read_bytes()
        == CONTENT
    )
    assert names(tmp_path) == ["deep/a.bin"]


def test_broken_connection_is_gone_on_with(server, tmp_path):
    server.files["/a.bin"], server.cuts = CONTENT, [1000, 2000, 5000]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [
        None,
        "bytes=1000-",
        "bytes=3000-",
        "bytes=8000-",
    ]


def test_stopped_download_is_gone_on_with_by_the_next_call(server, tmp_path):
    server.files["/a.bin"], server.cuts = CONTENT, [1000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(
        NotDone, match="1000 bytes are kept and the same command continues with them"
    ):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert names(tmp_path) == [".a.bin.part", ".a.bin.part.json"]
    server.cuts, server.requests[:] = [], []
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.requests == [("/a.bin", "bytes=1000-")]
    assert names(tmp_path) == ["a.bin"]


def stop_after(server, tmp_path, count):
    server.cuts = [count] + [0] * 9
    with pytest.raises(NotDone):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    server.cuts = []


def test_file_that_has_changed_meanwhile_is_begun_again(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    stop_after(server, tmp_path, 700)
    server.files["/a.bin"] = changed = CONTENT[::-1] + b"more"
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == changed


def test_server_without_ranges_begins_again(server, tmp_path):
    server.files["/a.bin"], server.ranges = CONTENT, False
    stop_after(server, tmp_path, 700)
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_complete_part_needs_no_byte_more(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    stop_after(server, tmp_path, 700)
    (tmp_path / ".a.bin.part").write_bytes(CONTENT)
    server.requests.clear()
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and not server.requests


def test_part_of_another_address_is_dropped(server, tmp_path):
    server.files["/a.bin"] = server.files["/b.bin"] = CONTENT
    stop_after(server, tmp_path, 700)
    fetch(f"{server.url}/b.bin", tmp_path / "a.bin", wait=0)
    assert server.requests[-1] == ("/b.bin", None)


def test_part_longer_than_the_file_is_dropped(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    stop_after(server, tmp_path, 700)
    (tmp_path / ".a.bin.part").write_bytes(CONTENT + b"x")
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_busy_server_is_asked_again(server, tmp_path):
    server.files["/a.bin"], server.errors = CONTENT, [503, 500, 429]
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 4)])
def test_refusal_says_what_to_do_by_hand(server, tmp_path, status, asked):
    server.errors = [status] * 9
    target = tmp_path / "classification" / "new" / "a.bin"
    sentence = rf"could not fetch a.bin: the server answers {status} .* Get {server.url}/a.bin .* save it as {target}"
    with pytest.raises(NotDone, match=sentence):
        fetch(f"{server.url}/a.bin", target, wait=0)
    assert len(server.requests) == asked and not list(tmp_path.iterdir())


def test_no_server_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    started = time.monotonic()
    for address in (
        "http://127.0.0.1:9/a.bin",
        "http://127.0.0.1:9/deep/b.zip",
        "http://localhost:9/a.bin",
    ):
        with pytest.raises(NotDone, match="the server refuses connections"):
            fetch(address, tmp_path / "a.bin")  # without waiting for another attempt
    assert time.monotonic() - started < 2.0
    with pytest.raises(ValueError, match="https://, http:// or gdrive:"):
        fetch("ftp://127.0.0.1/a.bin", tmp_path / "a.bin")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"<!DOCTYPE html><html>Quota exceeded</html>", "a web page"),
        ("a.zip", zipped({"a": CONTENT})[:-30], "damaged archive"),
        (
            "a.zip",
            zipped({"a": CONTENT}).replace(CONTENT[:9], b"x" * 9, 1),
            "member a is damaged",
        ),
        ("a.tgz", tarred({"a": CONTENT})[:-30], "damaged archive"),
        ("a.json", b'{"train": [', "no valid json: line 1"),
        ("a.txt", b"", "empty"),
    ],
)
def test_what_is_not_what_its_name_says_is_not_kept(
    server, tmp_path, name, content, message
):
    server.files[f"/{name}"] = content
    with pytest.raises(NotDone, match=message):
        fetch(f"{server.url}/{name}", tmp_path / name, wait=0)
    assert names(tmp_path) == []


def test_checksum_of_the_server(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    server.headers["Content-MD5"] = base64.b64encode(
        hashlib.md5(CONTENT).digest()
    ).decode()
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    server.headers["Content-MD5"] = base64.b64encode(
        hashlib.md5(b"other").digest()
    ).decode()
    with pytest.raises(NotDone, match="checksum"):
        fetch(f"{server.url}/a.bin", tmp_path / "b.bin")
    assert names(tmp_path) == ["a.bin"]


def test_full_disk_is_told_before(server, tmp_path, monkeypatch):
    server.files["/a.bin"] = CONTENT
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})
    )
    with pytest.raises(NotDone, match="GB are needed"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", wait=0)


class Drive:
    """Stands for gdown."""

    def __init__(self, content=None, error=None):
        self.content, self.error, self.calls = content, error, []

    def download(self, id, output, resume, quiet):
        self.calls.append((id, resume))
        if self.error:
            raise self.error
        with open(output, "wb") as file:
            file.write(self.content)
        return output


def test_google_drive(tmp_path, monkeypatch):
    drive = Drive(b'{"train": []}')
    monkeypatch.setitem(__import__("sys").modules, "gdown", drive)
    fetch("gdrive:1-ab_C", tmp_path / "split.json")
    assert drive.calls == [("1-ab_C", True)] and names(tmp_path) == ["split.json"]


def test_google_drive_does_not_go_on_with_a_part_from_elsewhere(
    server, tmp_path, monkeypatch
):
    server.files["/a.bin"] = CONTENT
    stop_after(server, tmp_path, 700)
    found = []
    drive = Drive(CONTENT)
    monkeypatch.setattr(
        drive,
        "download",
        lambda **options: (
            found.extend(names(tmp_path)),
            Drive.download(drive, **options),
        )[1],
    )
    monkeypatch.setitem(__import__("sys").modules, "gdown", drive)
    fetch("gdrive:1-ab_C", tmp_path / "a.bin")
    assert ".a.bin.part" not in found and (tmp_path / "a.bin").read_bytes() == CONTENT


REFUSALS = [
    Drive(error=RuntimeError("Too many users\nhave viewed it")),
    Drive(error=OSError("Name not known")),
    Drive(b"<html>"),
]


@pytest.mark.parametrize("drive", REFUSALS)
def test_google_drive_refuses(tmp_path, monkeypatch, drive):
    monkeypatch.setitem(__import__("sys").modules, "gdown", drive)
    with pytest.raises(
        NotDone,
        match=r"Get https://drive.google.com/uc\?id=1-ab_C with a browser and save it as .*split.json",
    ):
        fetch("gdrive:1-ab_C", tmp_path / "split.json")
    assert names(tmp_path) == []


# -- archives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["", "food-101/", "fgvc/data/"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_unpack_finds_the_folder_that_counts(tmp_path, around, pack):
    archive = tmp_path / ("a.tgz" if pack is tarred else "a.zip")
    archive.write_bytes(
        pack({f"{around}images/a/1.jpg": b"1", f"{around}list.txt": b"2"})
    )
    assert sorted(unpack(archive, tmp_path, ["images"])) == ["images", "list.txt"]
    assert names(tmp_path) == [archive.name, "images/a/1.jpg", "list.txt"]


def test_unpack_looks_into_an_archive_in_the_archive(tmp_path):
    inner = tarred({"101_ObjectCategories/ant/1.jpg": b"1"})
    (tmp_path / "caltech-101.zip").write_bytes(
        zipped({"caltech-101/101_ObjectCategories.tar.gz": inner})
    )
    assert unpack(tmp_path / "caltech-101.zip", tmp_path, ["101_ObjectCategories"]) == [
        "101_ObjectCategories"
    ]
    assert names(tmp_path) == ["101_ObjectCategories/ant/1.jpg", "caltech-101.zip"]


def test_unpack_leaves_what_is_there(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.jpg").write_bytes(b"mine")
    (tmp_path / "a.zip").write_bytes(
        zipped({"images/a/1.jpg": b"theirs", "images/a/2.jpg": b"2"})
    )
    assert unpack(tmp_path / "a.zip", tmp_path, ["images"]) == ["images/a/2.jpg"]
    assert (tmp_path / "images" / "a" / "1.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "content",
    [zipped({"other/a": b""}), zipped({"images/a": CONTENT})[:-9], gzip.compress(b"")],
    ids=["other folder", "cut", "no archive inside"],
)
def test_unpack_leaves_nothing_of_what_is_not_usable(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="a.zip"):
        unpack(tmp_path / "a.zip", tmp_path, ["images"])
    assert names(tmp_path) == ["a.zip"] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt"])
def test_unpack_stays_in_its_folder(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.tgz").write_bytes(tarred({"images/1": b"1", name: b"2"}))
    try:
        unpack(tmp_path / "data" / "a.tgz", tmp_path / "data", ["images"])
    except ValueError:
        pass
    assert not (tmp_path / "outside.txt").exists()


def test_check_form_of_sound_files(tmp_path):
    for name, content in (
        ("a.zip", zipped({"a": b"1"})),
        ("a.tgz", tarred({"a": b"1"})),
        ("a.json", b"{}"),
        ("a.html", b"<html>"),
    ):
        (tmp_path / name).write_bytes(content)
        check_form(tmp_path / name, name)


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def known(server, monkeypatch):
    """Return two sets that the server has."""
    split = json.dumps({"train": [], "val": [], "test": []}).encode()
    server.files = {
        "/split.json": split,
        "/pets.tgz": tarred(
            {"pets/images/a.jpg": b"1", "pets/annotations/list.txt": b"2"}
        ),
    }
    pets = Entry(
        "pets",
        "coop",
        "pets",
        "coop",
        1,
        {},
        files=("split.json", "images"),
        image_dir="images",
        split_json="split.json",
        downloads=(
            (f"{server.url}/split.json", "split.json"),
            (f"{server.url}/pets.tgz", "pets.tgz"),
        ),
    )
    birds = Entry(
        "birds",
        "elevater",
        "classification/birds",
        "iris",
        1,
        {},
        files=("labels.txt", "train.zip"),
        zips=("train.zip",),
        labelmap="labels.txt",
        torchvision="Birds",
        note="Kept in nests.",
    )
    entries = {"pets": pets, "birds": birds}
    monkeypatch.setattr(catalogue, "_entries", lambda: entries)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return entries


def test_command_fetches_and_unpacks(known, server, tmp_path, capsys):
    assert main(shlex.split(f"download pets --root {tmp_path}")) == 0
    assert names(tmp_path / "pets") == [
        "annotations/list.txt",
        "images/a.jpg",
        "pets.tgz",
        "split.json",
    ]
    assert f"pets: all files are in {tmp_path / 'pets'}" in capsys.readouterr().out
    server.requests.clear()
    assert main(shlex.split(f"download pets --root {tmp_path}")) == 0
    assert server.requests == []


def test_command_needs_no_archive_once_it_is_unpacked(known, server, tmp_path):
    main(shlex.split(f"download pets --root {tmp_path}"))
    (tmp_path / "pets" / "pets.tgz").unlink()
    (tmp_path / "pets" / "annotations" / "list.txt").unlink()
    server.requests.clear()
    assert main(shlex.split(f"download pets --root {tmp_path}")) == 0
    assert server.requests == [] and names(tmp_path / "pets") == [
        "images/a.jpg",
        "split.json",
    ]


def test_command_repairs_a_damaged_file(known, server, tmp_path):
    main(shlex.split(f"download pets --root {tmp_path}"))
    (tmp_path / "pets" / "split.json").write_text('{"train": [')
    assert main(shlex.split(f"download pets --root {tmp_path}")) == 0
    assert (tmp_path / "pets" / "split.json").read_bytes() == server.files[
        "/split.json"
    ]


def test_command_fetches_the_rest_where_one_file_is_refused(
    known, server, tmp_path, capsys
):
    del server.files["/split.json"]
    assert main(shlex.split(f"download pets --root {tmp_path}")) == 1
    assert names(tmp_path / "pets") == [
        "annotations/list.txt",
        "images/a.jpg",
        "pets.tgz",
    ]
    error = capsys.readouterr().err
    assert "could not fetch split.json: the server answers 404" in error
    assert f"pets needs split.json, images in {tmp_path / 'pets'}." in error


def test_command_takes_a_mirror(known, server, tmp_path):
    content = {"labels.txt": b"ant\n", "train.zip": zipped({"a": b"1"})}
    server.files = {
        f"/copy/classification/birds/{name}": data for name, data in content.items()
    }
    assert (
        main(
            shlex.split(f"download birds --root {tmp_path} --mirror {server.url}/copy/")
        )
        == 0
    )
    assert names(tmp_path / "classification" / "birds") == ["labels.txt", "train.zip"]


def test_command_where_no_place_is_known(known, tmp_path, capsys):
    assert main(shlex.split(f"download birds --root {tmp_path}")) == 1
    error = capsys.readouterr().err
    assert (
        "no place is known to fetch birds from" in error and "Kept in nests." in error
    )
    assert (
        f"`python -m datasets prepare birds --from torchvision --root {tmp_path}`"
        in error
    )
    assert list(tmp_path.iterdir()) == []


def test_unknown_name(known, tmp_path, capsys):
    assert main(shlex.split(f"download pet --root {tmp_path}")) == 2
    assert "the nearest names are pets" in capsys.readouterr().err


def test_another_command_at_the_same_file_is_refused(server, tmp_path):
    server.files["/a.bin"] = CONTENT
    lock = tmp_path / ".a.bin.part.lock"
    code = "import sys, time; from toolkit.common.files import exclusive_lock\n"
    code += "with exclusive_lock(sys.argv[1], ''): print('held', flush=True); time.sleep(60)"
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, cwd=root
    ) as other:
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(
            NotDone, match="another process is fetching a.bin at this moment"
        ):
            fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
        other.kill()
    assert not server.requests
    fetch(f"{server.url}/a.bin", tmp_path / "a.bin")
    assert names(tmp_path) == ["a.bin"]
