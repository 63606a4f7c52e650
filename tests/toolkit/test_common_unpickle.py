"""Files of `torch.save` are read without running their content."""

import builtins
import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from dassl.utils import load_checkpoint

from prompting.backbones.weights import read_state_dict
from tests.prompting.foreign_files import Attack, Warmup, write_foreign
from toolkit.common.unpickle import Placeholder, read

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["archive", "stream"])
KINDS = (
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def save(path, content, zipped: bool) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


@FORMATS
def test_tensors_and_plain_values(tmp_path, zipped):
    base = torch.arange(24.0)
    content = {
        **{str(kind): torch.arange(5).to(kind) for kind in KINDS},
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "slice": base.view(4, 6)[1:3, ::2],
        "shared": base,
        "transposed": base.view(4, 6).T,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "plain": [1, 2.5, "text", None, True, (1, b"bytes"), {"a": {1, 2}}, 1 << 80],
        "ordered": collections.OrderedDict(b=1, a=2),
        "size": torch.Size([2, 3]),
        "numpy": [
            np.float64(1.5),
            np.float32(0.25),
            np.float16(0.5),
            np.int64(-3),
            np.uint8(200),
            np.bool_(True),
        ],
    }
    save(tmp_path / "a.pth", content, zipped)
    found = read(tmp_path / "a.pth")
    assert list(found) == list(content)
    for name, value in content.items():
        if isinstance(value, torch.Tensor):
            assert found[name].dtype == value.dtype and torch.equal(
                found[name], value
            ), name
        else:
            assert found[name] == value, name
    assert found["numpy"] == [1.5, 0.25, 0.5, -3, 200, True]
    assert {type(value) for value in found["numpy"]} == {float, int, bool}


@FORMATS
def test_a_state_dict_with_objects_beside_it(tmp_path, zipped):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
    successor = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 2])
    content = {
        "state_dict": torch.nn.Linear(2, 3).state_dict(),  # carries _metadata
        "scheduler": Warmup(optimizer, successor).state_dict(),
        "object": optimizer,
        "array": np.ones(3),
        "device": torch.device("cpu"),
        "counter": collections.Counter("aab"),
    }
    save(tmp_path / "a.pth", content, zipped)
    found = read(tmp_path / "a.pth")
    assert torch.equal(found["state_dict"]["weight"], content["state_dict"]["weight"])
    assert (
        found["scheduler"]["base_lrs"] == [0.1]
        and found["scheduler"]["last_epoch"] == 0
    )
    for value in (
        found["scheduler"]["successor"],
        found["object"],
        found["array"],
        found["counter"],
    ):
        assert isinstance(value, Placeholder), value


class ByState:
    """Its own `__setstate__` would run."""

    def __init__(self, marker=None):
        self.marker = marker

    def __setstate__(self, state):
        os.mkdir(state["marker"])


class ByCall:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return eval, (f"__import__('os').mkdir({str(self.marker)!r})",)


class ByItems(Attack):
    """An object hidden in the items of a container."""

    def __reduce__(self):
        return list, (), None, iter([Attack(self.marker)])


@FORMATS
@pytest.mark.parametrize("attack", [Attack, ByState, ByCall, ByItems])
def test_what_torch_load_would_run_does_not_run(tmp_path, attack, zipped):
    marker, path = tmp_path / "ran", tmp_path / "a.pth"
    save(
        path,
        {"state_dict": {"ctx": torch.ones(2, 3)}, "scheduler": attack(marker)},
        zipped,
    )
    torch.load(path, weights_only=False)
    assert marker.is_dir(), "the file does what it is meant to prove"
    marker.rmdir()
    found = read(path)
    assert not marker.exists()
    assert isinstance(found["scheduler"], Placeholder) and torch.equal(
        found["state_dict"]["ctx"], torch.ones(2, 3)
    )


# a tuple on the stack, of two that are one, and so on: 2^30 when it is hashed
SHARED = b"K\x00\x85q\x00" + b"".join(
    b"h%c\x86q%c" % (level, level + 1) for level in range(30)
)
PICKLES = {
    "a function called": b"cos\nmkdir\n(V{}\ntR.",
    "a class made": b"(V{}\nios\nmkdir\n.",
    "a module's part": b"\x80\x04\x8c\x02os\x8c\x0apath.os.mk\x93.",
    "an attribute got": b"c__builtin__\ngetattr\n(cos\npath\nVos\ntR(V{}\ntR.",
    "an import": b"c__builtin__\n__import__\n(Vantigravity\ntR.",
    "a known function changed": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x0c__defaults__)s\x86b.",
    "a known class changed": b"\x80\x02ccollections\nOrderedDict\n}U\x01aK\x01sb.",
    "the placeholder changed": b"\x80\x02cany\nthing\n}U\x01aK\x01sb.",
    "a copyreg extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"Pos.mkdir\n.",
    "an unknown storage": b"\x80\x02(U\x07storagecos\nmkdir\nU\x010U\x03cpuK\x01tQ.",
    "a huge storage": b"\x80\x02(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuJ\xff\xff\xff\x7ftQ.",
    "a tensor beyond its storage": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n"
    b"U\x010U\x03cpuK\x02tQK\x00K\x63\x85K\x01\x85\x89NtR.",
    "deep lists": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
    "a tower of tuples as a key": b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.",
    "as deep as is let through": b"\x80\x02}" + b")" + b"\x85" * 998 + b"K\x01s.",
    "tuples shared 30 times over, as a key": b"\x80\x02}" + SHARED + b"K\x01s.",
    "tuples shared 30 times over, in a set": b"\x80\x04\x8f(" + SHARED + b"\x90.",
    "lists shared 30 times over, as a persistent id": b"\x80\x02"
    + b"".join(b"]q%c" % level for level in range(31))
    + b"".join(b"h%c(h%ch%ce0" % (n, n + 1, n + 1) for n in range(30))
    + b"h\x00\x85Q.",
    "one list copied 10,000 times": b"\x80\x02]q\x00(" + b"K\x01" * 10_000 + b"e"
    b"cbuiltins\nset\nq\x01h\x00\x85q\x02" + b"h\x01h\x02R0" * 10_000 + b".",
    "a list copied, filled after its tuple": b"\x80\x02]q\x00\x85q\x02h\x00("
    + b"K\x01" * 10_000
    + b"e0cbuiltins\nset\nq\x01"
    + b"h\x01h\x02R0" * 10_000
    + b".",
    "a number of 100 kB as a key": b"\x80\x02}\x8b\xa0\x86\x01\x00"
    + b"\x01" * 100_000
    + b"q\x00K\x01s"
    + b"h\x00K\x01s" * 100_000
    + b".",
    "a huge memo": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "nothing": b"",
}
TOO_LARGE = [
    "a tower of tuples as a key",
    "a huge memo",
    *(name for name in PICKLES if "30 times" in name or "00 " in name),
    "a list copied, filled after its tuple",
]
TOO_LARGE.remove("lists shared 30 times over, as a persistent id")


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickles(tmp_path, monkeypatch, name):
    """Expect harmless values or a refusal in one sentence of each."""
    marker, path = tmp_path / "ran", tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "a/data.pkl", PICKLES[name].replace(b"{}", str(marker).encode())
        )
        archive.writestr("a/data/0", b"\0" * 8)
    imported = []
    monkeypatch.setattr(builtins, "__import__", _recording(imported))
    try:
        read(path)
    except ValueError as error:
        assert "a.pth can't be read as a checkpoint" in str(error)
    assert not marker.exists() and "antigravity" not in imported
    if name in TOO_LARGE:
        with pytest.raises(ValueError, match="far too large for a checkpoint's"):
            read(path)
        with pytest.raises(ValueError, match="far too large for a checkpoint's"):
            load_checkpoint(path)
        with pytest.raises(ValueError, match="far too large for a checkpoint's"):
            read_state_dict(path)
    again = io.BytesIO()
    torch.save({"ctx": torch.arange(3.0)}, again)
    path.write_bytes(again.getvalue())
    assert torch.equal(read(path)["ctx"], torch.arange(3.0)), (
        "what was read before leaves no trace"
    )


def _recording(names: list):
    real = builtins.__import__

    def recorded(name, *args, **kwargs):
        names.append(name)
        return real(name, *args, **kwargs)

    return recorded


def test_many_tuples_and_shared_values_are_no_bomb(tmp_path):
    shared = (0.9, (0.999, "betas"))
    groups = [{"betas": shared, "shape": (count, 1)} for count in range(25_000)]
    save(tmp_path / "a.pth", {"ctx": torch.ones(2, 3), "groups": groups}, True)
    found = read(tmp_path / "a.pth")
    assert torch.equal(found["ctx"], torch.ones(2, 3))
    assert found["groups"] == groups


@FORMATS
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_damaged_file_is_named(tmp_path, zipped, share):
    path = tmp_path / "a.pth"
    save(path, {"ctx": torch.randn(64, 64)}, zipped)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match="a.pth can't be read as a checkpoint"):
        read(path)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read(tmp_path / "none.pth")
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "dear")
    with pytest.raises(ValueError, match="none that torch.save writes"):
        read(path)
    path.write_bytes(pickle.dumps({"ctx": 1}))
    with pytest.raises(ValueError, match="does not begin as torch.save's files do"):
        read(path)


@pytest.mark.parametrize("compress", [zipfile.ZIP_DEFLATED])
def test_a_compressed_archive_is_refused(tmp_path, compress):
    """Refuse it, as a few bytes could unfold to any size."""
    path, packed = (
        write_foreign(tmp_path, {"ctx": torch.ones(4, 8)}),
        tmp_path / "packed.pth",
    )
    with (
        zipfile.ZipFile(path) as plain,
        zipfile.ZipFile(packed, "w", compress) as archive,
    ):
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    with pytest.raises(ValueError, match="is compressed"):
        read(packed)
