"""Image files without their metadata, of which only the EXIF orientation is needed."""

import re
import struct
import zlib
from collections.abc import Iterator

ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # TIFF's types
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_MAX_PROFILE = 1 << 18  # bytes of a compressed EXIF block in a PNG

# its type in the list of items
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{3}(?:.{4}|.{6}))Exif", re.DOTALL)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_TRNS_LENGTHS = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}  # by the colour type

# Tags of TIFF that say how pixels are stored.
_TIFF_PIXELS = {
    *(262, 266, 273, 284, 292, 293, 317, 320, 332, 334, 338, 339, 347),
    *range(254, 260),
    *range(277, 280),
    *range(322, 326),
    *range(512, 522),
    *range(529, 533),
}
Stripped = tuple[bytes, int | None]  # content, orientation


def without_metadata(content: bytes) -> Stripped:
    """Return a JPEG, PNG, TIFF, AVIF or HEIF file with its pixels alone, and its EXIF
    orientation, None if it states none. Other formats, and files that are not as these
    formats say, are returned as they are.
    """
    try:
        if content[:2] == b"\xff\xd8":
            return _jpeg(content)
        if content.startswith(_PNG):
            return _png(content)
        if content[:2] in (b"II", b"MM"):
            return _tiff(content)
        # AVIF, HEIF: the file states the orientation in its container, and decoders apply it
        if content[4:8] == b"ftyp":
            return _EXIF_ITEM.sub(rb"\1free", content), None
    except (struct.error, IndexError):  # cut off
        pass
    return content, None


def exif_orientation(block: bytes) -> int | None:
    """Return the orientation of an EXIF block, None if it holds none that is read."""
    block = block.removeprefix(b"Exif\0\0")
    order = _byte_order(block)
    if order is None:
        return None
    found = None
    try:
        start = _number(order + "I", block, 4)
        count = _number(order + "H", block, start)
        for position in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", block, position)
            if tag == ORIENTATION and kind in _INTEGERS and values == 1:
                found = _number(order + _INTEGERS[kind], block, position + 8)
    except struct.error:  # it ends too early; the values found so far count
        pass
    return found


def xmp_orientation(text: bytes) -> int | None:
    """Return the orientation that an XMP packet states, or None."""
    match = _XMP.search(text)
    return int(match[1]) if match else None


def _number(form: str, content: bytes, position: int) -> int:
    return struct.unpack_from(form, content, position)[0]


def _byte_order(block: bytes) -> str | None:
    return {b"II": "<", b"MM": ">"}.get(block[:2])


def _jpeg(content: bytes) -> Stripped:
    """Keep all segments but comments and APPn, and of these those of JFIF and Adobe."""
    kept = [content[:2]]
    orientation = in_xmp = None
    position = 2
    while content[position : position + 2] != b"\xff\xda":  # the pixels
        if content[position : position + 2] == b"\xff\xff":  # a fill byte
            position += 1
            continue
        segment = _jpeg_segment(content, position)
        if segment is None:
            return content, None
        marker, data = segment[1], segment[4:]
        if marker == 0xE1 and data.startswith(b"Exif\0\0") and orientation is None:
            orientation = exif_orientation(data)
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/"):
            in_xmp = xmp_orientation(data)
        if _is_kept(marker, data):
            kept.append(segment)
        position += len(segment)
    kept.append(content[position:])
    if orientation is None:
        orientation = in_xmp
    return b"".join(kept), orientation


def _jpeg_segment(content: bytes, position: int) -> bytes | None:
    """Return the whole segment that begins at a position, or None."""
    start, marker, length = struct.unpack_from(">BBH", content, position)
    segment = content[position : position + 2 + length]
    if start != 0xFF or length < 2 or len(segment) < 2 + length:
        return None
    if marker == 0x01 or 0xD0 <= marker <= 0xD9:  # have no length
        return None
    return segment


def _is_kept(marker: int, data: bytes) -> bool:
    if marker == 0xE0:
        return data.startswith(b"JFIF") and len(data) >= 14
    if marker == 0xEE:
        return data.startswith(b"Adobe") and len(data) >= 12
    return marker != 0xFE and not 0xE0 <= marker <= 0xEF


def _png(content: bytes) -> Stripped:
    """Keep the header, palette, pixels and, if its length is right, transparency."""
    kept = [_PNG]
    orientation = in_profile = in_xmp = None
    colour_type = content[25]
    for kind, data, chunk in _png_chunks(content):
        if kind in _PNG_PIXELS:
            kept.append(chunk)
        elif kind == b"tRNS" and len(data) in _TRNS_LENGTHS.get(colour_type, ()):
            kept.append(chunk)
        elif kind == b"eXIf":
            orientation = exif_orientation(data)
        elif kind in (b"tEXt", b"zTXt") and data.startswith(b"Raw profile type exif\0"):
            in_profile = _profile_orientation(kind, data.partition(b"\0")[2])
        elif kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0"):
            in_xmp = xmp_orientation(data)
    for other in (in_profile, in_xmp):
        if orientation is None:
            orientation = other
    return b"".join(kept), orientation


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (kind, data, whole chunk) up to IEND; the last may be cut off."""
    position = len(_PNG)
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        chunk = content[position:end]
        yield kind, chunk[8 : 8 + length], chunk
        if kind == b"IEND":
            return
        position = end


def _profile_orientation(kind: bytes, text: bytes) -> int | None:
    """Return the orientation of an EXIF block in ImageMagick's hexadecimal text."""
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], 2 * _MAX_PROFILE)
        lines = text[: 2 * _MAX_PROFILE].split(b"\n")
        return exif_orientation(bytes.fromhex(b"".join(lines[3:]).decode("ascii")))
    except (zlib.error, ValueError):
        return None


def _tiff(content: bytes) -> Stripped:
    """Keep the first image's tags that say how pixels are stored. BigTIFF is 43."""
    order = _byte_order(content)
    if order is None:
        return content, None
    version = _number(order + "H", content, 2)
    if version == 42:
        start = _number(order + "I", content, 4)
        counter, size, value, pointer = "H", 12, 8, "I"
    elif version == 43:
        start = _number(order + "Q", content, 8)
        counter, size, value, pointer = "Q", 20, 12, "Q"
    else:
        return content, None
    count = _number(order + counter, content, start)
    first = start + struct.calcsize(counter)
    kept = []
    orientation = None
    for position in range(first, min(first + size * count, len(content)), size):
        entry = content[position : position + size]
        tag, kind = struct.unpack_from(order + "HH", entry)
        if tag in _TIFF_PIXELS:
            kept.append(entry)
        elif tag == ORIENTATION and kind in _INTEGERS:
            orientation = _number(order + _INTEGERS[kind], entry, value)
    directory = struct.pack(order + counter, len(kept)) + b"".join(kept)
    directory += struct.pack(order + pointer, 0)
    if start + len(directory) > len(content):
        return content, None
    return content[:start] + directory + content[start + len(directory) :], orientation
