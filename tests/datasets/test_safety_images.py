"""Untrusted images: files that would exhaust the memory or start a program are refused;
odd forms are read right.
"""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from toolkit.common import archives
from toolkit.common.images import ImageError, read_image


def read_opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return read_image(image)


both = pytest.mark.parametrize(
    "read", [read_image, read_opened], ids=["path", "opened"]
)


@pytest.fixture
def read():
    return read_image


def png(width: int, height: int) -> bytes:
    """Return a PNG of one grey row that declares other sides."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * (1 + min(width, 1000)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "unlimited", [False, True], ids=["", "others have switched Pillow's limit off"]
)
def test_a_bomb_is_named_before_anything_is_decoded(disk, read, unlimited, monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", None)
    if unlimited:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = disk.write("bomb.png", png(60_000, 60_000))
    with pytest.raises(
        ValueError,
        match=r"cannot decode .*bomb\.png: it declares more than 178,956,970 pixels",
    ):
        read(str(path))


@pytest.mark.parametrize("sides", [(1, 2000), (2000, 1)])
def test_an_image_that_would_become_a_bomb_when_resized_is_named(disk, read, sides):
    path = disk.write("line.png", encoded(Image.new("L", sides)))
    with pytest.raises(
        ValueError,
        match=r"line\.png: it declares .* one side is more than 1,000 times the other",
    ):
        read(str(path))
    path.write_bytes(encoded(Image.new("L", (1, 1000))))
    assert read(str(path)).size == (1, 1000)


def test_postscript_starts_no_program(disk, read, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr("subprocess.check_call", None)
    path = disk.write(
        "a.png",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    )
    with pytest.raises(ValueError, match=r"a\.png: not an image"):
        read(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_device_is_not_read(disk, read, kind):
    path = disk.root / "endless.png"
    os.mkfifo(path) if kind == "pipe" else os.symlink("/dev/zero", path)
    with pytest.raises(ValueError, match=r"endless\.png"):
        read(str(path))


GREY = np.array([[0, 25_600, 65_535]], np.uint16)


@both
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_a_pixel_are_scaled_not_clipped(disk, read, format):
    path = disk.write("grey.img", encoded(Image.fromarray(GREY), format))
    assert np.asarray(read(str(path)))[0].tolist() == [[0] * 3, [100] * 3, [255] * 3]


@both
def test_odd_forms(disk, read):
    red, blue = (
        Image.new("RGB", (6, 4), (200, 0, 0)),
        Image.new("RGB", (6, 4), (0, 0, 200)),
    )
    files = {
        "animated.gif": encoded(red, "GIF", save_all=True, append_images=[blue]),
        "animated.webp": encoded(
            red, "WEBP", save_all=True, append_images=[blue], lossless=True
        ),
        "palette.png": encoded(red.quantize(4)),
        "cmyk.jpg": encoded(red.convert("CMYK"), "JPEG", quality=100),
        "alpha.png": encoded(red.convert("RGBA")),
    }
    for name, content in files.items():
        image = read(str(disk.write(name, content)))
        assert (image.mode, image.size) == ("RGB", (6, 4)), name
        assert np.abs(np.asarray(image, int) - [200, 0, 0]).max() <= 2, name


@both
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(disk, read, format, orientation):
    upright = Image.new("RGB", (64, 32))
    # the corner at the top left is white
    upright.paste((255, 255, 255), (0, 0, 32, 16))
    # Image.Transpose that stores it so
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = (
        upright.transpose(Image.Transpose(undo[orientation]))
        if orientation > 1
        else upright
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read(str(disk.write("a.img", encoded(stored, format, exif=exif))))
    assert image.size == (64, 32)
    assert [
        image.getpixel(at)[0] > 127 for at in ((8, 8), (56, 8), (8, 24), (56, 24))
    ] == [True, False, False, False]


# -- zips --------------------------------------------------------------------------------------------------------


def declares(path, size: int) -> None:
    """Let the directory of a zip declare another size for its last member."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(bytes(content))


def test_a_member_that_declares_gigabytes_is_not_read(disk):
    path = disk.zip("big.zip", {"a.png": b"x"})
    declares(path, archives.MAX_BYTES + 1)
    with pytest.raises(
        ImageError,
        match=r"big\.zip@a\.png declares 536,870,913 bytes; .* at most 536,870,912",
    ):
        read_image(f"{path}@a.png")


def test_a_member_that_declares_too_little_is_not_unpacked_further(disk, monkeypatch):
    path = disk.root / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * (1 << 24))
    declares(path, 100)
    given, real = [], zipfile.ZipExtFile._read1
    monkeypatch.setattr(
        zipfile.ZipExtFile, "_read1", lambda self, n: given.append(n) or real(self, n)
    )
    with pytest.raises(ValueError, match=r"liar\.zip@a\.png"):
        archives.read_bytes(f"{path}@a.png")
    assert given == [100]  # so much was asked for, not all that there is


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound_are_refused(disk, method):
    path = disk.root / "packed.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", disk.image())
    with pytest.raises(
        ImageError,
        match=r"packed\.zip: its member 'a\.png' is neither stored nor deflated",
    ):
        read_image(f"{path}@a.png")


def test_members_are_looked_up_in_the_zip_alone(disk):
    outside = disk.write("outside.png", disk.image())
    inside = disk.zip("data/train.zip", {"a.png": disk.image()})
    for member in ("../outside.png", "../../outside.png", str(outside), "/etc/passwd"):
        with pytest.raises(FileNotFoundError, match="has no member"):
            read_image(f"{inside}@{member}")
