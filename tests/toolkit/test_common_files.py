"""Files appear whole or not at all; devices stay devices; a lock is held by one
process.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.common.files import (
    InUse,
    atomic_folder,
    atomic_write,
    decode_text,
    exclusive_lock,
    read_names,
    write_bytes,
    write_text,
)

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    with atomic_write(path) as temporary:
        temporary.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    write_bytes(path, b"three")
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_writer_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_killed_writer_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = """
import sys
from toolkit.common.files import atomic_write
with atomic_write(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""
    with python(code, path) as writer:
        assert writer.stdout.readline() == "written\n"
        writer.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    assert not [
        file
        for file in tmp_path.iterdir()
        if not file.name.startswith(".") and file != path
    ]


def test_folders_and_devices_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_text(tmp_path, "x")
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/null", tmp_path / "link")
    for path in ("/dev/null", "/dev/stdout", tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(
            ValueError, match=f"{path} is a device or a pipe, a file name is needed"
        ):
            write_text(path, "x")
    assert not Path("/dev/null").is_file()


def test_a_folder_appears_whole(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyError), atomic_folder(folder) as temporary:
        (temporary / "x").write_text("x")
        raise KeyError
    assert not folder.exists() and not list(folder.parent.iterdir())
    with atomic_folder(folder) as temporary:
        (temporary / "x").write_text("x")
    assert [file.name for file in folder.iterdir()] == ["x"]
    with pytest.raises(OSError), atomic_folder(folder) as temporary:
        (temporary / "y").write_text("y")
    assert [file.name for file in folder.iterdir()] == ["x"]


def test_threads_that_write_one_path_do_not_share_an_unfinished_one(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as slow, atomic_write(path) as fast:
        slow.write_text("slow")
        fast.write_text("fast")
    assert path.read_text() == "slow"
    folder = tmp_path / "b"
    with pytest.raises(OSError), atomic_folder(folder) as slow:
        (slow / "x").write_text("slow")
        with atomic_folder(folder) as fast:
            (fast / "x").write_text("fast")
    assert [file.read_text() for file in folder.iterdir()] == ["fast"]
    assert sorted(tmp_path.iterdir()) == [path, folder]


def test_one_process_holds_a_lock_and_may_enter_it_again(tmp_path):
    path = tmp_path / "lock"
    code = """
import sys
from toolkit.common.files import exclusive_lock
with exclusive_lock(sys.argv[1], "in use"):
    print("held", flush=True)
    sys.stdin.read()
"""
    with python(code, path) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(InUse, match="run is in use"),
            exclusive_lock(path, "run is in use"),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
    with exclusive_lock(path, "run is in use"), exclusive_lock(path, "run is in use"):
        pass


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_text_with_and_without_a_byte_order_mark(encoding):
    content = "Käfer\nBiene\n".encode(encoding)
    if encoding == "utf-16-le":
        content = b"\xff\xfe" + content
    assert decode_text(content, "names.txt") == "Käfer\nBiene\n"


def test_text_of_another_encoding_is_named():
    with pytest.raises(ValueError, match="names.txt is not UTF-8 text"):
        decode_text("Käfer".encode("latin-1"), "names.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_names_in_a_file(tmp_path, encoding, end):
    text = end.join(["Käfer", "", " Biene, wild ", "鳥", ""])
    (tmp_path / "names.txt").write_bytes(text.encode(encoding))
    found = read_names(tmp_path / "names.txt", "--classes")
    assert found == ["Käfer", "Biene, wild", "鳥"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bird\ncup\n".encode("utf-16-be"), "names.txt: .* holds a control character"),
        ("bird\ncup\n".encode("utf-32"), "names.txt"),
        ("Vögel\ncup\n".encode("latin-1"), "names.txt is not UTF-8 text"),
        (b"bi\x1b[31mrd\ncup\n", "names.txt: .* holds a control character"),
        (b" \n\n", "names.txt holds no names"),
        (None, "no file .*names.txt of names"),
    ],
)
def test_files_that_hold_no_names(tmp_path, content, message):
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        (ValueError, FileNotFoundError), match=f"^--classes: .*{message}"
    ):
        read_names(path, "--classes")
