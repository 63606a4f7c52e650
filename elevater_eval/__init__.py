r"""ELEVATER evaluation: official metrics, prediction files, submissions. Usable without
the rest of the repository.

Any model's probabilities can be written, packed, checked, scored and compared. Here
those of two models on a test set of four images, in a custom table of tasks (without
``tasks``, the table is that of ELEVATER and the pocket suite):

>>> import elevater_eval, tempfile
>>> from pathlib import Path
>>> folder = Path(tempfile.mkdtemp())
>>> _ = (folder / "test.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 1\nd.jpg 0\n")  # an image and its class a line
>>> _ = (folder / "labels.txt").write_text("cat\ndog\n")
>>> about = {"metric": "accuracy", "label_kind": "multiclass", "format": "iris", "classes": 2, "test": 4}
>>> pets = elevater_eval.TaskInfo("my-pets", "mine", test_index="test.txt", labelmap="labels.txt", **about)
>>> def submission(model, probabilities):
...     path = elevater_eval.write_predictions(
...         folder / model / "seed0_my-pets.json", model_name=model, dataset_name="my-pets", n_shot=0, seed=0,
...         num_trainable_params=0, num_params=90, num_visual_params=60, num_backbone_params=90,
...         probabilities=probabilities,  # (images, classes): rows in the order of test.txt, columns of labels.txt
...     )
...     return elevater_eval.combine(path.parent, folder / f"{model}.zip")
>>> one = submission("one", [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.2, 0.8]])
>>> two = submission("two", [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.6, 0.4]])
>>> elevater_eval.validate(two, folder, tasks={"my-pets": pets})
[]
>>> elevater_eval.score(one, folder, tasks={"my-pets": pets})["suites"]
[{'suite': 'mine', 'score': 0.5, 'tasks': 1, 'of': 1}]
>>> found = elevater_eval.compare(one, two, folder, tasks={"my-pets": pets})["tasks"][0]
>>> found["difference"], found["test"], found["p"]  # both images on which they differ: the second is right
(0.5, 'McNemar, exact', 0.5)
>>> elevater_eval.metrics.compute("mean-per-class", [0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]])
0.75
"""

from elevater_eval import metrics
from elevater_eval.comparison import compare
from elevater_eval.entry import PredictionFile
from elevater_eval.issues import InvalidSubmissionError, Issue
from elevater_eval.predictions import read_predictions, write_predictions
from elevater_eval.scoring import score
from elevater_eval.submission import combine
from elevater_eval.tasks import TaskInfo, load_tasks
from elevater_eval.validation import validate

Problem = Issue  # the name in earlier versions

__all__ = [
    "InvalidSubmissionError",
    "Issue",
    "PredictionFile",
    "Problem",
    "TaskInfo",
    "combine",
    "compare",
    "load_tasks",
    "metrics",
    "read_predictions",
    "score",
    "validate",
    "write_predictions",
]
