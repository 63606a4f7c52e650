"""TorchScript archives are read as `torch.jit.load` reads them, but nothing in them
runs.
"""

import io
import pickle
import sys
import time
import types
import zipfile
from collections import OrderedDict

import pytest
import torch
from torch import nn

from prompting.backbones.weights import read_state_dict

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3))
        self.register_buffer("count", torch.tensor(3))
        self.mask = torch.ones(2)  # no part of the state

    def forward(self, x):
        return x @ self.weight.T * self.count


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        self.tied = self.blocks[0].weight
        self.register_buffer("scale", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.head(self.blocks[1](x)) * self.scale


@pytest.mark.parametrize("how", ["scripted", "traced", "half"])
def test_the_state_is_that_of_torch(tmp_path, how):
    net, path = Net().eval(), tmp_path / "net.pt"
    module = (
        torch.jit.trace(net, torch.randn(1, 3))
        if how == "traced"
        else torch.jit.script(net)
    )
    (module.half() if how == "half" else module).save(str(path))
    expected = torch.jit.load(str(path)).state_dict()
    found = read_state_dict(path)
    assert found.keys() == expected.keys() and "blocks.1.weight" in found
    assert all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype
        for name, value in expected.items()
    )


class Writes(nn.Module):
    """Its `__setstate__`, which `torch.jit.load` calls, makes a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path, self.made = path, torch.zeros(2)

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        self.made = torch.from_file(state[0], shared=True, size=8)


def test_nothing_in_an_archive_runs(tmp_path):
    target, path = tmp_path / "written", tmp_path / "net.pt"
    torch.jit.script(Writes(str(target))).save(str(path))
    torch.jit.load(str(path))
    assert target.exists(), "this is what the reader must not do"
    target.unlink()
    assert read_state_dict(path) == {}
    assert not target.exists()


@pytest.mark.parametrize("damage", ["no data", "cut data", "compressed data"])
def test_damaged_archives_are_named(tmp_path, damage):
    path, broken = tmp_path / "net.pt", tmp_path / "broken.pt"
    torch.jit.script(Net()).save(str(path))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(broken, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("/data.pkl"):
                if damage == "no data":
                    continue
                content = content[:40] if damage == "cut data" else content
            packed = (
                zipfile.ZIP_DEFLATED
                if damage == "compressed data"
                else zipfile.ZIP_STORED
            )
            new.writestr(entry.filename, content, packed)
    with pytest.raises(ValueError, match=r"broken\.pt cannot be read as a checkpoint"):
        read_state_dict(broken)


def write_shared(path, depth: int) -> None:
    """Write an archive of `depth` modules, each of which holds the next one twice: 2 **
    depth tensors by name.
    """
    tree = type("Tree", (), {"__module__": "__torch__.tree"})
    leaf = torch.zeros(1)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, torch.storage.TypedStorage):
                return ("storage", torch.FloatStorage, "0", "cpu", 1)
            return None

        def reducer_override(self, obj):
            if obj is tree:
                return "Tree"
            if isinstance(obj, torch.Tensor):
                storage = obj._typed_storage()
                return torch._utils._rebuild_tensor_v2, (
                    storage,
                    0,
                    (1,),
                    (1,),
                    False,
                    OrderedDict(),
                )
            return NotImplemented

    node = tree()
    node.w = leaf
    for _ in range(depth):
        parent = tree()
        parent.a = parent.b = node
        node = parent
    module = types.ModuleType("__torch__.tree")
    module.Tree = tree
    content = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__torch__", types.ModuleType("__torch__"))
        patch.setitem(sys.modules, "__torch__.tree", module)
        Pickler(content, protocol=2).dump(node)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/constants.pkl", pickle.dumps(()))
        archive.writestr(
            "net/code/__torch__/tree.py",
            'class Tree(Module):\n  __parameters__ = ["w", ]\n',
        )
        archive.writestr("net/data.pkl", content.getvalue())
        archive.writestr("net/data/0", b"\0" * 4)


@pytest.mark.parametrize("depth", [17, 40, 90])
def test_modules_in_many_places_are_bounded(tmp_path, depth):
    write_shared(tmp_path / "net.pt", depth)
    assert (tmp_path / "net.pt").stat().st_size < 10_000
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"net\.pt.*(too many|claim more values)"):
        read_state_dict(tmp_path / "net.pt")
    assert time.monotonic() - start < 5


def test_a_module_in_two_places_is_read(tmp_path):
    write_shared(tmp_path / "net.pt", 1)
    found = read_state_dict(tmp_path / "net.pt")
    assert sorted(found) == ["a.w", "b.w"] and torch.equal(found["a.w"], torch.zeros(1))
