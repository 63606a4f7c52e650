"""A program for torchrun: `train.main` in the toy world, once for each command line of
a JSON file, after the checks that need several processes. The findings of a check are
written beside the file, a file a process.
"""

import json
import os
import sys
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import tiny_world  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

import datasets  # noqa: E402
import train  # noqa: E402
import trainers.features.store  # noqa: E402
from datasets.multitask import MultitaskDataset  # noqa: E402
from datasets.task import Sample  # noqa: E402
from prompting import memory  # noqa: E402
from trainers.engine import distributed  # noqa: E402
from trainers.features import extraction  # noqa: E402
from trainers.features.disk_cache import FeatureCache  # noqa: E402
from trainers.features.store import FeatureStore, LoadedBackbone  # noqa: E402

CHUNK = 24  # tokens that enter the text tower at once: a class or two
RANK = int(os.environ.get("RANK", 0))


def check_rows_are_gathered_in_order(_folder: Path) -> None:
    for total in range(1, 12):
        for step in (1, 2, 5):
            rows = torch.arange(2.0 * total).view(total, 2)
            share = distributed.rows(total, step)
            assert torch.equal(
                distributed.gather_rows(rows[share.start : share.stop], total, step),
                rows,
            ), (total, step)


def check_the_main_process_decides_and_goes_first(folder: Path) -> None:
    assert distributed.from_main(lambda: f"said by {RANK}") == "said by 0"
    assert distributed.everywhere(True) and not distributed.everywhere(RANK == 0)
    with distributed.main_first():
        assert (folder / "first").is_file() != distributed.main()
        (folder / "first").touch()


def check_all_draw_the_same_numbers(_folder: Path) -> None:
    torch.manual_seed(RANK)
    distributed.same_randomness()
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


def check_prompts_that_differ_are_noticed_by_all(_folder: Path) -> None:
    prompt = nn.Linear(2, 1)
    nn.init.ones_(prompt.weight)
    nn.init.zeros_(prompt.bias)
    distributed.check_same(prompt)
    nn.init.constant_(prompt.bias, 1e-7 * RANK)
    try:
        distributed.check_same(prompt)
    except RuntimeError as error:
        assert "different prompts" in str(error)
    else:
        raise AssertionError("not noticed")


def check_all_leave_out_a_step_whose_gradients_one_finds_infinite(
    _folder: Path,
) -> None:
    prompt = nn.Linear(2, 1)
    before = prompt.weight.detach().clone()
    _, loss = distributed.share_training(
        [[0]], prompt, lambda batch: prompt(batch).sum()
    )
    optim, scaler = (
        torch.optim.SGD(prompt.parameters(), 0.1),
        torch.amp.GradScaler("cpu", init_scale=8.0),
    )
    for broken in (True, False):
        loss.module._weights.append(1.0)
        x = torch.full((1, 2), float("inf") if broken and RANK == 1 else 1.0)
        optim.zero_grad()
        scaler.scale(loss(x)).backward()
        scaler.step(optim)
        scaler.update()
        assert scaler.get_scale() == 4.0
        assert torch.equal(prompt.weight, before) == broken
        assert broken or torch.allclose(prompt.weight, before - 0.1)


def check_features_that_only_some_have_in_files_are_encoded_by_all(
    folder: Path,
) -> None:
    backbone = LoadedBackbone(**vars(tiny_world.stub("pocket")))
    (folder / f"image{RANK}.png").write_bytes(
        tiny_world.noise_image(np.random.default_rng(0), (1,))
    )
    task = datasets.Task(
        ["a"], [], [], [Sample(str(folder / f"image{RANK}.png"), (0,), "a.png")]
    )
    images = MultitaskDataset([task], "test", 32, "bicubic", (0.5,) * 3, (0.5,) * 3)
    calls, encode = [], extraction.encode_images

    def counted(models, part, settings) -> list[torch.Tensor]:
        calls.append(len(part))
        return encode(models, part, settings)

    trainers.features.store.encode_images = counted
    settings = extraction.EncoderSettings(batch_size=1)
    cache = FeatureCache(folder / f"cache{min(RANK, 1)}", 10**6)
    # only the main process keeps them
    first = FeatureStore(backbone, settings, cache).features(images)
    distributed.barrier()
    assert [path.is_dir() for path in (folder / "cache0", folder / "cache1")] == [
        True,
        False,
    ]
    backbone.features.clear()
    again = FeatureStore(backbone, settings, cache).features(images)
    trainers.features.store.encode_images = encode
    assert torch.equal(again, first) and first.shape == (1, 16)
    assert calls == [1, 1]


def run_checks(folder: Path) -> bool:
    """Write the finding of each check, "" if all is well, up to the first that fails;
    return True if none fails.
    """
    found = {}
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            (folder / name).mkdir(exist_ok=True)
            try:
                check(folder / name)
                found[name] = ""
            except Exception:
                found[name] = traceback.format_exc()
                break  # as the others may wait for a step that this one did not take
    (folder / f"checks{RANK}.json").write_text(json.dumps(found))
    return not any(found.values())


def main() -> int:
    """Return the first exit code that is not 0."""
    torch.cuda.is_available = lambda: False
    torch.set_num_threads(1)
    # chunks that the backward pass computes again
    memory.MAX_TOKENS["cpu"], memory.MAX_CACHED_CLASSES["cpu"] = CHUNK, 2
    real, stubs = (
        trainers.features.store.load_backbone,
        {name: tiny_world.stub(name) for name in tiny_world.STUBS},
    )
    trainers.features.store.load_backbone = lambda name, *args: (
        stubs[name] if name in stubs else real(name, *args)
    )
    for cls in tiny_world.task_classes():
        datasets.register_task(cls)
    file = Path(sys.argv[1])
    distributed.start()
    if not run_checks(file.parent):
        return distributed.failed("a check failed\n", 1)
    for argv in json.loads(file.read_text()):
        code = train.main(argv)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
