"""Jobs for tests of executors; light to import, as every process does that."""

import multiprocessing
import os
import time
from pathlib import Path


def perform_for_test(job, place):
    """Do a job, as its name says."""
    if job.name == "dies":
        os._exit(3)
    if job.name == "hangs":
        time.sleep(3600)
    if job.name == "raises":
        raise ValueError("no such luck")
    (Path(place) / job.name).write_text(job.settings["name"])


def process_in_process(item):
    """Start a process as a data loader does; return its exit code and how it starts."""
    process = multiprocessing.Process(target=os.getpid)
    process.start()
    process.join()
    return process.exitcode, multiprocessing.get_start_method()
