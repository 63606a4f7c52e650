import io

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional as F

from toolkit.common.images import ImageError, normalize, read_image, resize


def two_tone(width=8, height=4):
    """Return an image whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def encode(image, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def test_exif_orientation_is_applied(disk):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter clockwise when shown
    path = disk.write("a.png", encode(two_tone(), exif=exif))
    image = read_image(str(path))
    assert image.size == (4, 8)
    assert image.getpixel((0, 0)) == (255, 0, 0) and image.getpixel((0, 7)) == (
        0,
        0,
        255,
    )


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_everything_becomes_rgb(disk, mode):
    path = disk.write(
        "a.img", encode(Image.new(mode, (5, 3)), "TIFF" if mode == "CMYK" else "PNG")
    )
    assert read_image(str(path)).mode == "RGB"


def test_reading_from_a_root_with_at_and_spaces(disk):
    disk.zip("me@host/my data/x y.zip", {"a b/c@d.png": encode(two_tone())})
    disk.write("me@host/my data/plain.png", encode(two_tone()))
    zipped = read_image(f"{disk.root}/me@host/my data/x y.zip@a b/c@d.png")
    plain = read_image(f"{disk.root}/me@host/my data/plain.png")
    assert zipped.tobytes() == plain.tobytes() == two_tone().tobytes()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_truncated_images_are_named(disk, format):
    noise = Image.frombytes(
        "RGB",
        (32, 32),
        torch.randint(0, 256, (3072,), dtype=torch.uint8).numpy().tobytes(),
    )
    content = encode(noise, format)
    path = disk.write("short.img", content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"short\.img"):
        read_image(str(path))
    zipped = disk.zip("some.zip", {"short.img": content[: len(content) // 2]})
    with pytest.raises(ImageError, match=r"some\.zip@short\.img"):
        read_image(f"{zipped}@short.img")


def test_unreadable_and_missing_images_are_named(disk):
    assert issubclass(ImageError, ValueError)
    with pytest.raises(ImageError, match=r"text\.png: not an image"):
        read_image(str(disk.write("text.png", b"hello")))
    with pytest.raises(ImageError, match=r"empty\.png: empty"):
        read_image(str(disk.write("empty.png", b"")))
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_image(f"{disk.root}/gone.png")
    disk.write("bad.zip", b"PK")
    with pytest.raises(ImageError, match=r"bad\.zip"):
        read_image(f"{disk.root}/bad.zip@a.png")


def test_a_damaged_member_is_named(disk):
    path = disk.zip("some.zip", {"a.png": encode(two_tone(64, 64))})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match=r"some\.zip@a\.png"):
        read_image(f"{path}@a.png")


def test_squash_keeps_all_and_crop_keeps_the_centre():
    image = Image.new("RGB", (30, 10), (0, 255, 0))
    image.paste((255, 0, 0), (0, 0, 10, 10))
    image.paste((0, 0, 255), (20, 0, 30, 10))
    squashed = resize(image, 6, "squash", "nearest")
    assert squashed.shape == (3, 6, 6) and squashed.dtype == torch.uint8
    assert (
        squashed[:, 0].T.tolist()
        == [[255, 0, 0]] * 2 + [[0, 255, 0]] * 2 + [[0, 0, 255]] * 2
    )
    cropped = resize(image, 10, "crop", "bicubic")
    assert cropped.shape == (3, 10, 10)
    assert cropped[:, 0].T.tolist() == [[0, 255, 0]] * 10


def test_resize_is_clips_own_preprocessing():
    image = Image.effect_noise((37, 23), 90).convert("RGB")
    expected = F.center_crop(F.resize(image, 16, F.InterpolationMode.BICUBIC), 16)
    mean, std = (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    )
    expected = F.normalize(F.to_tensor(expected), mean, std)
    assert torch.equal(
        normalize(resize(image, 16, "crop", "bicubic"), mean, std), expected
    )


def test_resize_rejects_unknown_names():
    with pytest.raises(ValueError, match="squash, crop"):
        resize(two_tone(), 4, "centre")
    with pytest.raises(ValueError, match="nearest, bilinear, bicubic"):
        resize(two_tone(), 4, "crop", "lanczos")


def test_normalize_takes_batches():
    batch = (
        torch.tensor([0, 255, 51], dtype=torch.uint8)
        .view(1, 3, 1, 1)
        .expand(2, 3, 2, 2)
    )
    out = normalize(batch, (0.5, 0.5, 0.1), (0.5, 0.25, 0.1))
    assert out.dtype == torch.float32 and out.shape == (2, 3, 2, 2)
    assert out[1, :, 0, 1].tolist() == pytest.approx([-1.0, 2.0, 1.0])
    assert batch[0, 1, 0, 0] == 255


class Zipped(torch.utils.data.Dataset):
    def __init__(self, path, count):
        self.path, self.count = path, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return F.pil_to_tensor(read_image(f"{self.path}@{index}.png"))


def test_workers_read_one_zip_at_the_same_time(disk):
    colors = [(i, 255 - i, i // 2) for i in range(60)]
    path = disk.zip(
        "many.zip",
        {f"{i}.png": disk.image(color, (9, 7)) for i, color in enumerate(colors)},
    )
    # the parent's handle is open when the workers are forked
    read_image(f"{path}@0.png")
    loader = DataLoader(Zipped(str(path), 60), batch_size=5, num_workers=2)
    read = torch.cat(list(loader))
    assert torch.equal(
        read,
        torch.tensor(colors, dtype=torch.uint8)[:, :, None, None].expand(60, 3, 7, 9),
    )
