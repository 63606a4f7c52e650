"""ELEVATER evaluation: official metrics, prediction files, submissions. Usable without the rest of the repository.

from elevater_eval import metrics, write_predictions, combine, validate, score
"""

from elevater_eval import metrics
from elevater_eval.predictions import PredictionFile, read_predictions, write_predictions
from elevater_eval.problems import InvalidSubmissionError, Problem
from elevater_eval.scoring import score
from elevater_eval.submission import combine
from elevater_eval.tasks import TaskInfo, load_tasks
from elevater_eval.validation import validate

__all__ = [
    "InvalidSubmissionError",
    "PredictionFile",
    "Problem",
    "TaskInfo",
    "combine",
    "load_tasks",
    "metrics",
    "read_predictions",
    "score",
    "validate",
    "write_predictions",
]
