"""Jobs for tests of executors; light to import, as every process does that."""

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
