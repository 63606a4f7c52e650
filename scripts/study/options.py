"""Checks of the configuration keys of a plan's runs, before any of them starts."""

from collections.abc import Iterable, Sequence

from scripts.jobs.plan import Job

from . import methods
from .work import configuration_of, resolved

OF_THE_PLAN = {
    "OUTPUT_DIR": "each run has its own folder below the plan's output folder",
    "RESUME": "runs are resumed by themselves",
    "SEED": "see seeds",
    "DATASET.RANDOM_SEED_SAMPLING": "see seeds",
    "DATASET.NUM_SHOTS": "see shots",
    "DATASET.NUM_SAMPLES_PER_CLASS": "see shots",
    "DATASET.DATASET": "see the plan's tasks",
    "DATASET.NAME": "see the plan's tasks",
    "DATASET.ROOT": "see root",
    "MULTITASK.SOURCE": "see the plan's tasks",
    "MODEL.BACKBONE.NAME": "see backbone",
    "TRAINER.NAME": "see methods",
    "TEST.NO_TEST": "a table needs scores",
    "TEST.SPLIT": "tables are of test images",
}  # key -> the part of a plan that sets it


def check_options(names: Sequence[str], options: dict, backbone: str) -> None:
    """Raise ValueError if a key is unknown, is the plan's own, or is read by no method."""
    from trainers.engine.config import is_foreign, trainer_class
    from trainers.engine.value_checks import unread_message, unread_pairs

    for key in options:
        if key in OF_THE_PLAN:
            raise ValueError(f"{key} is no option of a run: {OF_THE_PLAN[key]}")
    unread = set(options)
    for name in names:
        cfg = resolved(name, 1, 0, backbone, options)
        if is_foreign(trainer_class(name)):
            unread.clear()  # its code may read any key
        unread &= set(unread_pairs(cfg, options))
    for key in options:
        if key in unread:
            raise ValueError(unread_message(key, names))


def check_jobs(jobs: Iterable[Job]) -> None:
    """Raise ValueError if the configuration of a job has a wrong value, or if a prompt
    that is to be scored on other tasks serves its own classes alone.
    """
    from trainers.engine import external, value_checks
    from trainers.engine.config import trainer_class, with_overrides

    checked = set()
    for job in jobs:
        settings = job.settings
        method, tasks = settings["method"], settings["tasks"]
        cfg = configuration_of(job)
        if settings["stage"] == "transfer":
            tasks = tasks[:1]  # each run has one of them
            if reason := trainer_class(method).class_specific_reason(cfg):
                raise ValueError(
                    f"{method}: its prompt serves the classes of one task alone ({reason}), so no item that needs transfer has it"
                )
        key = (method, settings["shots"], settings["seed"])
        key = (*key, settings["backbone"], str(settings["options"]), *tasks)
        if key in checked:
            continue
        checked.add(key)
        cfg = with_overrides(cfg, DATASET__DATASET=",".join(tasks))
        if methods.leaves_prompt(method):
            value_checks.check(cfg, methods.is_multitask(method))
        elif issues := external.wrong_values(cfg, trains=True):
            raise ValueError("\n".join(issues))
