"""`read_image` on metadata, numbers that do not fill 8 bits, and transparency."""

import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from toolkit.common.image_metadata import exif_orientation, without_metadata
from toolkit.common.images import ImageError, image_size, read_image

# the Image.Transpose that turns a stored image upright
SHOWN = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


@pytest.fixture
def read(tmp_path):
    def read(content: bytes, **options) -> np.ndarray:
        path = tmp_path / "image"
        path.write_bytes(content)
        return np.asarray(read_image(path, **options))

    return read


def encoded(image, format="PNG", **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def photo(width=24, height=16) -> Image.Image:
    values = np.arange(width * height * 3, dtype=np.uint32) * 7 % 256
    return Image.fromarray(values.reshape(height, width, 3).astype(np.uint8))


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """Return the photo as JPEG with more segments behind its first two bytes."""
    content = encoded(photo(), "JPEG", quality=95)
    added = b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data
        for marker, data in segments
    )
    return content[:2] + added + content[2:]


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    content = encoded(photo())
    added = b""
    for kind, data in chunks:
        added += (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )
    return content[:33] + added + content[33:]


def exif(*entries: tuple[int, int, int, bytes], order="<") -> bytes:
    """Return an EXIF block of entries (tag, type, count, value)."""
    block = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        order + "HIH", 42, 8, len(entries)
    )
    for tag, kind, count, value in entries:
        block += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0" + block + bytes(4)


RESOLUTION_TEXT = (0x011A, 2, 4, b"72\0\0")
TURNED = (0x0112, 3, 1, b"\6\0")

ODD_EXIF = {
    "resolution as text": exif(RESOLUTION_TEXT, (0x0128, 3, 1, b"\2\0")),
    "resolution elsewhere": exif((0x011A, 5, 1, b"\xff\xff\xff\x7f")),
    "resolution over zero": exif((0x011A, 5, 1, b"\x1a\0\0\0")),
    "unknown types": exif((0x010E, 77, 3, b"abc"), (0x8769, 4, 1, b"\xff\xff\xff\xff")),
    "orientation as text": exif((0x0112, 2, 2, b"6\0")),
    "orientation 9": exif((0x0112, 3, 1, b"\x09\0")),
    "cut off": exif(RESOLUTION_TEXT)[:15],
    "empty": b"Exif\0\0",
    "no byte order": b"Exif\0\0" + bytes(range(60)),
}


@pytest.mark.parametrize("block", ODD_EXIF.values(), ids=ODD_EXIF)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_odd_exif_changes_nothing(read, block, format):
    plain = encoded(photo(), format)
    contents = {
        "JPEG": encoded(photo(), "JPEG", exif=block),
        "PNG": png_with((b"eXIf", block[6:])),
        "WEBP": encoded(photo(), "WEBP", exif=block),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(
            read(contents[format]),
            np.asarray(Image.open(io.BytesIO(plain)).convert("RGB")),
        )


@pytest.mark.parametrize(
    "others", [(RESOLUTION_TEXT,), ((0x011A, 5, 1, b"\xff\xff\xff\xff"),), ()]
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_orientation_beside_odd_tags_is_applied(read, others, format):
    block = exif(*others, TURNED)
    plain = np.asarray(Image.open(io.BytesIO(encoded(photo(), format))).convert("RGB"))
    content = (
        png_with((b"eXIf", block[6:]))
        if format == "PNG"
        else encoded(photo(), format, exif=block)
    )
    assert np.array_equal(read(content), np.rot90(plain, -1))


@pytest.mark.parametrize("kind, value", [(3, b"\6\0"), (4, b"\6\0\0\0"), (1, b"\6")])
def test_orientation_is_read_from_all_integers_in_both_byte_orders(kind, value):
    assert exif_orientation(exif((0x0112, kind, 1, value))) == 6
    assert exif_orientation(exif((0x0112, kind, 1, value[::-1]), order=">")) == 6


@pytest.mark.parametrize(
    "segments",
    [
        [(0xE2, b"ICC_PROFILE\0\1"), (0xE2, b"ICC_PROFILE\0\0\0" + bytes(50))],
        [(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")],
        [(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed" + bytes(3))],
        [(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta")],
        [(0xE0, b"JFIF\0")],
        [(0xEE, b"Adobe")],
        [(0xFE, b"comment \xff\xfe")],
        [(marker, b"") for marker in range(0xE0, 0xF0)],
    ],
)
def test_odd_segments_of_a_jpeg_change_nothing(read, segments):
    assert np.array_equal(read(jpeg_with(*segments)), read(jpeg_with()))


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (70 << 20)))],
        [(b"tEXt", b"Comment\0" + b"a" * 2_000_000)] * 40,
        [(b"iCCP", b"profile\0\0" + b"no zlib stream")],
        [(b"iCCP", b"profile\0\7")],
        [
            (
                b"zTXt",
                b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  4\nzz no hex"),
            )
        ],
        [
            (b"gAMA", b"1"),
            (b"pHYs", b""),
            (b"cHRM", b"12"),
            (b"sRGB", b""),
            (b"tIME", b""),
        ],
        [(b"eXIf", b"")],
        [(b"tRNS", b"\1")],
        [(b"acTL", b""), (b"fcTL", b"1")],
    ],
)
def test_odd_chunks_of_a_png_change_nothing(read, chunks):
    assert np.array_equal(read(png_with(*chunks)), np.asarray(photo()))


def test_an_ancillary_chunk_with_a_wrong_checksum_changes_nothing(read):
    content = bytearray(png_with((b"tEXt", b"Comment\0text")))
    content[content.index(b"Comment")] ^= 1
    assert np.array_equal(read(bytes(content)), np.asarray(photo()))


def test_orientation_in_a_raw_profile_and_in_xmp(read):
    block = exif(TURNED)
    profile = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    turned = np.rot90(np.asarray(photo()), -1)
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    for chunk in (
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        (b"tEXt", b"Raw profile type exif\0" + profile),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ):
        assert np.array_equal(read(png_with(chunk)), turned)
    content = jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))
    assert np.array_equal(read(content), np.rot90(read(jpeg_with()), -1))


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "jpeg", "tiff_adobe_deflate"]
)
@pytest.mark.parametrize("big", [False, True])
def test_tags_of_a_tiff_that_are_not_of_its_pixels_change_nothing(
    read, compression, big
):
    plain = encoded(photo(), "TIFF", compression=compression, big_tiff=big)
    tags = {
        270: "a description",
        282: 72.0,
        305: "software",
        700: b"<xmp",
        34665: 5,
        34675: b"icc",
        274: 6,
    }
    content = encoded(
        photo(), "TIFF", compression=compression, big_tiff=big, tiffinfo=tags
    )
    assert np.array_equal(read(content), np.rot90(read(plain), -1))
    if not big:  # the resolution becomes a text somewhere else
        odd = content.replace(
            struct.pack("<HHI", 282, 5, 1), struct.pack("<HHI", 282, 2, 0x7FFFFFFF)
        )
        assert odd != content and np.array_equal(read(odd), np.rot90(read(plain), -1))


def test_files_that_end_in_their_metadata_are_refused_by_name(read):
    for content in (
        jpeg_with((0xE1, bytes(100)))[:60],
        png_with((b"tEXt", bytes(100)))[:60],
        b"II*\0\x08\0\0\0",
    ):
        with pytest.raises(ImageError, match="image"):
            read(content)


def test_pixels_are_untouched_where_there_is_no_metadata():
    for content in (
        encoded(photo(), "BMP"),
        encoded(photo(), "GIF"),
        encoded(photo(), "PPM"),
        b"",
        b"\xff\xd8",
    ):
        assert without_metadata(content) == (content, None)


def _random_exif(rng: random.Random) -> bytes:
    order = rng.choice("<>")
    entries = []
    for _ in range(rng.randrange(8)):
        tag = rng.choice(
            [
                0x0112,
                0x0112,
                0x0112,
                0x011A,
                0x011B,
                0x0128,
                0x8769,
                0x8825,
                0xA005,
                0x010E,
                rng.randrange(65536),
            ]
        )
        kind = rng.choice([*range(14), rng.randrange(65536)])
        count = rng.choice([0, 1, 1, 2, rng.randrange(1 << 32)])
        value = rng.choice(
            [
                bytes([rng.randrange(10), 0, 0, 0]),
                bytes([0, rng.randrange(10), 0, 0]),
                rng.randbytes(4),
            ]
        )
        entries.append((tag, kind, count, value))
    block = exif(*entries, order=order)
    if rng.random() < 0.3:
        block = block[: rng.randrange(len(block) + 1)]
    changed = bytearray(block + rng.randbytes(rng.randrange(40)))
    if changed and rng.random() < 0.5:
        for _ in range(rng.randrange(1, 6)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


@pytest.mark.long
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_5000_random_exif_blocks(read, format):
    rng = random.Random(5)
    plain = read(jpeg_with() if format == "JPEG" else png_with())
    turned = {1: plain}
    for orientation, turn in SHOWN.items():
        turned[orientation] = np.asarray(
            Image.fromarray(plain).transpose(Image.Transpose(turn))
        )
    seen = set()
    for _ in range(5000):
        block = _random_exif(rng)
        content = (
            jpeg_with((0xE1, block))
            if format == "JPEG"
            else png_with((b"eXIf", block[6:]))
        )
        has_exif = format == "PNG" or block.startswith(b"Exif\0\0")
        orientation = exif_orientation(block[6:]) if has_exif else None
        if orientation not in turned:
            orientation = 1
        seen.add(orientation)
        assert np.array_equal(read(content), turned[orientation]), block
    assert seen == set(range(1, 9))


# -- numbers that do not fill 8 bits -------------------------------------------------------------------------------

BYTES = np.array([[0, 1, 51, 102], [128, 200, 254, 255]], np.uint8)


@pytest.mark.parametrize(
    "values, expected",
    [
        (BYTES / np.float32(255), BYTES),
        (BYTES.astype(np.float32), BYTES),
        (BYTES.astype(np.float32) * 1000, BYTES),
        (np.array([[0, 0.5, 1.0]], np.float32), [[0, 128, 255]]),
        (np.array([[0, 0.25]], np.float32), [[0, 64]]),
        (
            np.array([[np.nan, np.inf, -np.inf, -3, 0.6]], np.float32),
            [[0, 0, 0, 0, 153]],
        ),
        (np.zeros((1, 2), np.float32), [[0, 0]]),
        (np.array([[-1, -0.5, 0, 1]], np.float32), [[0, 64, 128, 255]]),
        (np.array([[-0.9, -0.2]], np.float32), [[13, 102]]),
        (np.array([[-0.05, 0.2]], np.float32), [[0, 51]]),
    ],
)
def test_floats(read, values, expected):
    image = Image.fromarray(values.astype(np.float32))
    got = read(encoded(image, "TIFF"))
    assert np.array_equal(got[:, :, 1], expected)
    assert np.array_equal(np.asarray(read_image(image)), got)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-3.5, -0.2]], np.float32),
        np.array([[-7, -1]], np.int32),
        np.full((2, 2), -2.0, np.float32),
    ],
)
def test_images_of_negative_numbers_alone_are_refused(tmp_path, values):
    (tmp_path / "a.tif").write_bytes(encoded(Image.fromarray(values), "TIFF"))
    with pytest.raises(ImageError, match="a.tif: its numbers are all negative"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    "kind, format", [("int32", "TIFF"), ("uint16", "TIFF"), ("uint16", "PNG")]
)
def test_integers_fill_the_bits_that_hold_the_largest(read, bits, kind, format):
    values = BYTES.astype(kind) << (bits - 8)
    got = read(encoded(values, format))
    assert np.array_equal(got, np.repeat(BYTES[:, :, None], 3, axis=2))
    full = np.array([[0, 2**bits - 1]], kind)
    assert read(encoded(full, format))[0, :, 0].tolist() == [0, 255]


def test_other_integers(read):
    assert read(encoded(np.array([[-5, 0, 3, 255]], np.int32), "TIFF"))[
        0, :, 0
    ].tolist() == [0, 0, 3, 255]
    assert read(encoded(np.array([[0, 2**30, 2**31 - 1]], np.int32), "TIFF"))[
        0, :, 0
    ].tolist() == [0, 128, 255]
    assert read(encoded(np.array([[0, 2**19, 2**20 - 1]], np.int32), "TIFF"))[
        0, :, 0
    ].tolist() == [0, 128, 255]


def grey_tiff(values: list, kind: str, black: int = 1) -> bytes:
    """Return a TIFF of one row of numbers of a NumPy type; `black` is the tag that says
    if 0 is black (1) or white (0).
    """
    row = np.array(values, kind)
    form = {"u": 1, "i": 2, "f": 3}[row.dtype.kind]
    tags = [
        (256, 4, len(row)), (257, 4, 1), (258, 3, 8 * row.itemsize), (259, 3, 1), (262, 3, black),
        (273, 4, 8 + 2 + 12 * 10 + 4), (277, 3, 1), (278, 4, 1), (279, 4, row.nbytes), (339, 3, form),
    ]  # fmt: skip
    content = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, size, value in tags:
        content += struct.pack("<HHII", tag, size, 1, value)
    return content + bytes(4) + row.tobytes()


@pytest.mark.parametrize(
    "values, kind, black, expected",
    [
        ([0, 1000, 4000], "uint32", 1, [0, 62, 250]),
        ([0, 2**30, 2**31, 2**32 - 1], "uint32", 1, [0, 64, 128, 255]),
        ([2**31, 2**32 - 1], "uint32", 1, [128, 255]),
        ([-7, 0, 2**31 - 1], "int32", 1, [0, 0, 255]),
        ([-100, 1000, 4000], "int16", 1, [0, 62, 250]),
        ([-100, 0, 50, 127], "int8", 1, [0, 0, 50, 127]),
        ([0, 100, 255], "uint8", 0, [255, 155, 0]),
        ([0, 1000, 4000], "uint16", 0, [255, 193, 5]),
        ([0, 65535], "uint16", 0, [255, 0]),
        ([0, 0.25, 1], "float32", 0, [255, 191, 0]),
    ],
)
def test_types_of_numbers_in_a_tiff(read, values, kind, black, expected):
    assert read(grey_tiff(values, kind, black))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("transparent", [0, 300, 65535])
def test_a_transparent_value_of_16_bits(read, transparent):
    content = encoded(np.array([[0, 300, 40_000, 65535]], np.uint16))
    data = struct.pack(">H", transparent)
    chunk = struct.pack(">I", 2) + b"tRNS" + data
    chunk += struct.pack(">I", zlib.crc32(b"tRNS" + data))
    expected = {0: 0, 300: 1, 40_000: 156, 65535: 255} | {transparent: 255}
    found = read(content[:33] + chunk + content[33:])
    assert found[0, :, 0].tolist() == list(expected.values())


def png16(values: np.ndarray) -> bytes:
    """Return a PNG of 16 bits a channel: (H, W, C) with 2, 3 or 4 channels."""
    height, width, channels = values.shape
    header = struct.pack(
        ">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0
    )
    rows = values.astype(">u2").reshape(height, -1)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, chunk in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b"")):
        content += (
            struct.pack(">I", len(chunk))
            + kind
            + chunk
            + struct.pack(">I", zlib.crc32(kind + chunk))
        )
    return content


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bits_of_color(read, bits):
    color = np.dstack([BYTES, BYTES[::-1], BYTES[:, ::-1]]).astype(np.uint16) << (
        bits - 8
    )
    expected = np.dstack([BYTES, BYTES[::-1], BYTES[:, ::-1]])
    assert np.array_equal(read(png16(color)), expected)
    opaque = np.full_like(color[:, :, :1], 65535)
    assert np.array_equal(read(png16(np.dstack([color, opaque]))), expected)
    grey = np.dstack([color[:, :, :1], opaque])
    assert np.array_equal(read(png16(grey)), np.repeat(BYTES[:, :, None], 3, axis=2))
    assert (read(png16(np.dstack([color, 0 * opaque]))) == 255).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [12, 16])
def test_16_bits_of_color_in_a_tiff(read, order, bits):
    color = np.dstack([BYTES, BYTES[::-1], BYTES[:, ::-1]]).astype(np.uint16) << (
        bits - 8
    )
    tags = [
        (256, 4, 1, 4), (257, 4, 1, 2), (258, 3, 3, 8 + 2 + 12 * 9 + 4), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 200), (277, 3, 1, 3), (278, 4, 1, 2), (279, 4, 1, color.nbytes),
    ]  # fmt: skip
    content = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        order + "HIH", 42, 8, len(tags)
    )
    for tag, kind, count, value in tags:
        packed = struct.pack(
            order + ("H" if kind == 3 and count == 1 else "I"), value
        ).ljust(4, b"\0")
        content += struct.pack(order + "HHI", tag, kind, count) + packed
    content += bytes(4) + struct.pack(order + "3H", 16, 16, 16)
    content = content.ljust(200, b"\0") + color.astype(order + "u2").tobytes()
    assert np.array_equal(read(content), color >> (bits - 8))


# -- transparency --------------------------------------------------------------------------------------------------


def ink() -> Image.Image:
    """Return three pixels of black ink: opaque, half transparent and fully transparent."""
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_transparent_images_are_laid_on_a_ground(read, mode, format):
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    content = encoded(
        ink().convert("RGBA" if format == "WEBP" else mode), format, **options
    )
    grounds = {"white": [0, 127, 255], "black": [0, 0, 0], "none": [0, 0, 0]}
    for name, row in grounds.items():
        assert read(content, background=name)[0, :, 0].tolist() == row
    assert np.array_equal(read(content), read(content, background="white"))


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette(read, format):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((1, 0), 1)
    content = encoded(image, format, transparency=0)
    assert read(content).tolist() == [[[255] * 3, [200, 0, 0]]]
    assert read(content, background="none").tolist() == [[[10, 20, 30], [200, 0, 0]]]


def test_a_transparent_colour_without_palette(read):
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (0, 200, 0))
    content = encoded(image, transparency=(1, 2, 3))
    assert read(content).tolist() == [[[255] * 3, [0, 200, 0]]]
    content = encoded(Image.fromarray(np.array([[7, 9]], np.uint8)), transparency=7)
    assert read(content)[0, :, 0].tolist() == [255, 9]
    assert read(content, background="black")[0, :, 0].tolist() == [0, 9]


def test_opaque_images_do_not_change(read):
    for mode in ("RGB", "RGBA", "L", "P"):
        image = photo().convert(mode)
        content = encoded(image)
        for background in ("white", "black", "none"):
            assert np.array_equal(
                read(content, background=background), np.asarray(image.convert("RGB"))
            )


def test_an_unknown_background_is_named():
    with pytest.raises(
        ValueError, match="unknown background 'green'; choose one of white, black, none"
    ):
        read_image(photo(), "green")


def test_an_opened_image_with_odd_metadata():
    info = PngInfo()
    info.add_text("Raw profile type exif", "no hex")
    opened = Image.open(io.BytesIO(encoded(photo(), pnginfo=info)))
    assert np.array_equal(np.asarray(read_image(opened)), np.asarray(photo()))
    opened = Image.open(
        io.BytesIO(encoded(photo(), exif=exif(RESOLUTION_TEXT, TURNED)[6:]))
    )
    assert np.array_equal(
        np.asarray(read_image(opened)), np.rot90(np.asarray(photo()), -1)
    )


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize("orientation", [1, 6])
def test_avif(read, orientation):
    entry = Image.Exif()
    entry[0x010E] = "description of some length"
    entry[0x0112] = orientation
    content = encoded(photo(64, 48), "AVIF", quality=90, exif=entry)
    plain = read(content)
    assert plain.shape == ((64, 48, 3) if orientation == 6 else (48, 64, 3))
    start = content.index(b"II*\0") if b"II*\0" in content else content.index(b"MM\0*")
    for odd in (b"no order", exif((0x011A, 2, 4, b"72\0\0"))[6:], bytes(30)):
        assert np.array_equal(
            read(content[:start] + odd + content[start + len(odd) :]), plain
        )


def test_the_size_that_a_file_declares(tmp_path):
    path = tmp_path / "a.img"
    for content in (
        jpeg_with((0xE1, ODD_EXIF["resolution as text"])),
        png_with((b"eXIf", b"")),
        encoded(photo(), "GIF"),
    ):
        path.write_bytes(content)
        assert image_size(path) == (24, 16)
    path.write_bytes(b"hello")
    with pytest.raises(ImageError, match=r"a\.img"):
        image_size(path)
