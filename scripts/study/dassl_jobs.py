"""Jobs of trainers that were written for Dassl alone: what train.py does with them, and
the scores that tables need beside.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from toolkit.common.structured import write_json

log = logging.getLogger(__name__)
# backbone -> why it has no zero-shot scores; a download that failed is not tried again
UNAVAILABLE: dict[str, str] = {}


def execute(run) -> None:
    """Train and test, or only test, as `trainers.engine.external` does; its lines go to
    log.txt in the run's folder.

    A record gets the score of plain CLIP ("zero_shot") unless TEST.ZERO_SHOT is False,
    and one of training that of the validation images ("val_score").

    Raise ValueError or FileNotFoundError for wrong input.

    Args:
        run: a `trainers.engine.run.Run`, whose `start` is the folder that is evaluated.
    """
    from trainers.engine import external
    from trainers.engine.config import RunOptions
    from trainers.engine.run_dir import RESULTS, exclusive_folder

    options = RunOptions(eval_only=not run.trains, model_dir=run.start)
    external.check(run.cfg, options)
    with exclusive_folder(run.folder), lines_in(run.folder / "log.txt"):
        records = external.run(run.cfg, options)
        if run.cfg.TEST.ZERO_SHOT:
            _add_zero_shot(run.cfg, records)
            write_json(run.folder / RESULTS, records, indent=1)


@contextlib.contextmanager
def lines_in(path: Path) -> Iterator[None]:
    """Append what is printed or logged to a file; only warnings are shown, too."""
    root = logging.getLogger()
    levels = {handler: handler.level for handler in root.handlers}
    level = root.level
    written = logging.FileHandler(path, encoding="utf-8")
    written.setFormatter(logging.Formatter("%(message)s"))
    for handler in levels:
        handler.setLevel(max(handler.level, logging.WARNING))
    root.addHandler(written)
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(written.stream):
            yield
    finally:
        root.removeHandler(written)
        written.close()
        root.setLevel(level)
        for handler, before in levels.items():
            handler.setLevel(before)


def _add_zero_shot(cfg, records: list[dict]) -> None:
    """Add the score of plain CLIP with the task's templates to the only record; log why
    if this project cannot load the backbone.
    """
    from dassl.config import get_cfg_default

    from trainers.engine.scoring import score_prompts
    from trainers.engine.settings import extend

    (record,) = records
    backbone = _weights(cfg.MODEL.BACKBONE.NAME)
    if backbone in UNAVAILABLE:
        log.info("no zero-shot score: %s", UNAVAILABLE[backbone])
        return
    ours = extend(get_cfg_default())
    ours.DATASET.update(cfg.DATASET)
    ours.SEED = cfg.SEED
    ours.MODEL.BACKBONE.NAME = backbone
    ours.DATALOADER.NUM_WORKERS = cfg.DATALOADER.NUM_WORKERS
    ours.freeze()
    try:
        scores = score_prompts([None], ours, [cfg.DATASET.NAME])
    except (ValueError, OSError) as error:
        log.warning("no zero-shot scores of %s: %s", backbone, error)
        UNAVAILABLE[backbone] = str(error)
    else:
        record["zero_shot"] = round(float(scores[0, 0]), 6)


def _weights(backbone: str) -> str:
    """Return the file that OpenAI's package, which most of these trainers bring, keeps
    for a backbone, or else the backbone.
    """
    name = backbone.replace("/", "-").replace("@", "-")
    file = Path.home() / ".cache" / "clip" / f"{name}.pt"
    return str(file) if file.is_file() else backbone
