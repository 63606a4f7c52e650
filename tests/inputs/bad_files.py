"""Wrong inputs of train.py: configurations, groups and few-shot records."""

from damage import Case, deep

SECTIONS = {
    "train.py: files": [
        Case(
            "a missing configuration",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: no configuration file mine.yaml",
        ),
        Case(
            "a configuration that is no YAML",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml is no YAML: line 2: expected ',' or ']', but got '<stream end>'",
            {"mine.yaml": "OPTIM: [1\n"},
        ),
        Case(
            "a configuration that names a function to call",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml is no YAML: line 1: could not determine a constructor for the tag ...",
            {"mine.yaml": "OPTIM: !!python/object/apply:os.system [touch hostile]\n"},
        ),
        Case(
            "a configuration without keys",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml holds no keys",
            {"mine.yaml": "- OPTIM\n"},
        ),
        Case(
            "a configuration with an unknown key",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml: unknown key 'OPTIM.RL'; the nearest is 'OPTIM.LR'",
            {"mine.yaml": "OPTIM: {RL: 0.1}\n"},
        ),
        Case(
            "a configuration with a group for a value",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml: unknown key 'OPTIM.LR.a'; the nearest is 'OPTIM.LR'",
            {"mine.yaml": "OPTIM: {LR: {a: 1}}\n"},
        ),
        Case(
            "a configuration with a value for a group",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml: unknown key 'OPTIM'; the nearest is 'OPTIM.LR'",
            {"mine.yaml": "OPTIM: 3\n"},
        ),
        Case(
            "a configuration that grows without end",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml holds more than 100,000 values; its aliases repeat too much",
            {"mine.yaml": "OPTIM: &a {LR: *a}\n"},
        ),
        Case(
            "a configuration that is no text",
            "train.py --trainer CoOp --dataset folder:photos --config-file mine.yaml",
            "error: mine.yaml is not UTF-8 text: 'utf-8' codec can't decode ...",
            {"mine.yaml": b"\xff\xfe\x00"},
        ),
        Case(
            "missing groups",
            "train.py --trainer MCoOp --dataset folder:photos --groups groups.yaml",
            "error: --groups: no file groups.yaml",
        ),
        Case(
            "groups that are no mapping",
            "train.py --trainer MCoOp --dataset folder:photos --groups groups.yaml",
            "error: --groups: groups.yaml must map each target to a list of tasks",
            {"groups.yaml": "[a]\n"},
        ),
        Case(
            "a group that is no list",
            "train.py --trainer MCoOp --dataset folder:photos --groups groups.yaml",
            "error: --groups: groups.yaml must map photos to a list of tasks, not to 'table'",
            {"groups.yaml": "photos: table\n"},
        ),
        Case(
            "groups of a task that is no target",
            "train.py --trainer MCoOp --dataset folder:photos --groups groups.yaml",
            "error: --groups: groups.yaml names birds, which are no targets (--dataset)",
            {"groups.yaml": "birds: [photos]\n"},
        ),
        Case(
            "a group with an unknown task",
            "train.py --trainer MCoOp --dataset folder:photos --groups groups.yaml",
            "error: unknown dataset 'pocket-digit'; the nearest names are pocket-digits, ...",
            {"groups.yaml": "photos: [pocket-digit]\n"},
        ),
        Case(
            "a missing few-shot record",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: DATASET.FEWSHOT: no file record.json",
        ),
        Case(
            "a few-shot record that is no JSON",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json:1: not valid json: ...",
            {"record.json": "{"},
        ),
        Case(
            "a few-shot record without its lists",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json is no few-shot record: it needs the keys task, train and val",
            {"record.json": '{"task": "photos"}'},
        ),
        Case(
            "a few-shot record nested without end",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json: not valid json: nested too deeply",
            {"record.json": deep},
        ),
        Case(
            "a few-shot record of another task",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: DATASET.FEWSHOT: record.json is a record of none of the tasks, but of birds",
            {
                "record.json": '{"task": "birds", "shots": 2, "seed": 0, "train": [], "val": []}'
            },
        ),
        Case(
            "a few-shot record of other shots",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json --shots 5",
            "error: record.json was drawn with 2 shots, but DATASET.NUM_SHOTS is 5; use --shots 2",
            {
                "record.json": '{"task": "photos", "shots": 2, "seed": 0, "train": [], "val": []}'
            },
        ),
        Case(
            "a few-shot record of other images",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json: the few-shot record of task 'photos' names ../../etc/passwd, which is not there",
            {
                "record.json": '{"task": "photos", "shots": 2, "seed": 0, "train": ["../../etc/passwd"], "val": []}'
            },
        ),
        Case(
            "a few-shot record of lists, not names",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json: train and val are lists of images' paths",
            {
                "record.json": '{"task": "photos", "shots": 2, "seed": 0, "train": [["a"]], "val": []}'
            },
        ),
        Case(
            "a few-shot record that chooses nothing",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json: its list train is empty",
            {
                "record.json": '{"task": "photos", "shots": 2, "seed": 0, "train": [], "val": []}'
            },
        ),
        Case(
            "a few-shot record with an odd seed",
            "train.py --trainer CoOp --dataset folder:photos --fewshot record.json",
            "error: record.json: seed is 'x', no whole number",
            {
                "record.json": '{"task": "photos", "shots": 2, "seed": "x", "train": [], "val": []}'
            },
        ),
    ],
}
