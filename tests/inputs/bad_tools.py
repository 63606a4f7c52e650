"""Wrong inputs of python -m elevater_eval and python -m prompting."""

from damage import (
    Case,
    bomb,
    deep_submission,
    hostile,
    other_member,
    submission,
    truncate,
)

SECTIONS = {
    "python -m elevater_eval": [
        Case(
            "no command",
            "-m elevater_eval",
            "python -m elevater_eval: error: the following arguments are required: COMMAND",
        ),
        Case(
            "another command",
            "-m elevater_eval scores submission.zip",
            "python -m elevater_eval: error: argument COMMAND: invalid choice: 'scores' (choose from ...)",
        ),
        Case(
            "combine: a missing folder",
            "-m elevater_eval combine nowhere",
            "error: nowhere does not exist",
        ),
        Case(
            "combine: a folder without predictions",
            "-m elevater_eval combine photos",
            "error: photos holds no prediction files (*.json)",
        ),
        Case(
            "combine: a file that is none of predictions",
            "-m elevater_eval combine text.txt",
            "error: text.txt: not JSON: ...",
        ),
        Case(
            "combine: a missing data root",
            "-m elevater_eval combine run --root nowhere",
            "error: data root nowhere is not a folder",
        ),
        Case(
            "combine: a folder for a file",
            "-m elevater_eval combine run -o photos",
            "error: photos is a folder, a file name is needed",
        ),
        Case(
            "combine: a damaged prediction file",
            "-m elevater_eval combine run",
            "error: run/predictions/seed0_photos.json: photos: not JSON: ...",
            {"run/predictions/seed0_photos.json": truncate},
        ),
        Case(
            "validate: a missing file",
            "-m elevater_eval validate nowhere.zip",
            "error: nowhere.zip does not exist",
        ),
        Case(
            "validate: what is no zip",
            "-m elevater_eval validate text.txt",
            "error: text.txt: not a zip archive, or a truncated one",
        ),
        Case(
            "validate: a damaged zip",
            "-m elevater_eval validate submission.zip",
            "error: submission.zip: not a zip archive, or a truncated one",
            {"submission.zip": truncate},
        ),
        Case(
            "validate: a zip with another member",
            "-m elevater_eval validate submission.zip",
            "error: submission.zip: the zip must hold exactly one member, 'all_predictions.json'; it holds '../all_predictions.json'",
            {"submission.zip": other_member},
        ),
        Case(
            "validate: damaged JSON",
            "-m elevater_eval validate submission.zip",
            "error: submission.zip/all_predictions.json: not JSON: ...",
            {"submission.zip": submission('{"data": [')},
        ),
        Case(
            "validate: nested without end",
            "-m elevater_eval validate submission.zip",
            "error: submission.zip/all_predictions.json: not JSON: nested too deeply...",
            {"submission.zip": deep_submission},
        ),
        Case(
            "validate: a key twice",
            "-m elevater_eval validate submission.zip",
            "error: submission.zip/all_predictions.json: key 'data' occurs more than once in an object",
            {"submission.zip": submission('{"data": [], "data": []}')},
        ),
        Case(
            "validate: a missing data root",
            "-m elevater_eval validate submission.zip --root nowhere",
            "error: data root nowhere is not a folder",
        ),
        Case(
            "score: a missing data root",
            "-m elevater_eval score submission.zip --root nowhere",
            "error: data root nowhere is not a folder",
        ),
        Case(
            "score: no data root",
            "-m elevater_eval score submission.zip",
            "python -m elevater_eval score: error: the following arguments are required: --root",
        ),
        Case(
            "score: an unknown task",
            "-m elevater_eval score submission.zip --root data --only patch-camelion",
            "error: no predictions of patch-camelion; did you mean 'patch-camelyon'?",
        ),
        Case(
            "score: an unknown metric",
            "-m elevater_eval score submission.zip --root data --extra top3",
            "error: unknown extra metric 'top3'; did you mean 'top5'? known: top5, macro_f1, per_class_recall, ece",
        ),
        Case(
            "score: other test images",
            "-m elevater_eval score submission.zip --root data",
            "error: submission.zip/all_predictions.json: patch-camelyon, seed 0: 8 rows, but 1 in the index file",
            {
                "data/classification/patch_camelyon_20211007/test.txt": "test.zip@0.png 0\n"
            },
        ),
        Case(
            "diff: a missing submission",
            "-m elevater_eval diff submission.zip nowhere.zip --root data",
            "error: nowhere.zip does not exist",
        ),
        Case(
            "diff: no resamples",
            "-m elevater_eval diff submission.zip submission.zip --root data --resamples 0",
            "error: resamples must be 1 or more, got 0",
        ),
        Case(
            "diff: a negative seed",
            "-m elevater_eval diff submission.zip submission.zip --root data --seed -1",
            "error: seed must be 0 or more, got -1",
        ),
    ],
    "python -m prompting": [
        Case(
            "predict: a missing prompt",
            "-m prompting predict nowhere photos/train/cat/0.png",
            "error: no prompts at nowhere",
        ),
        Case(
            "predict: a folder without a prompt",
            "-m prompting predict photos photos/train/cat/0.png",
            "error: no prompts at photos/prompts.safetensors",
        ),
        Case(
            "predict: a damaged prompt",
            "-m prompting predict run photos/train/cat/0.png",
            "error: run/prompts.safetensors is no safetensors file: ...",
            {"run/prompts.safetensors": truncate},
        ),
        Case(
            "predict: a missing image",
            "-m prompting predict run nowhere.png",
            "error: no image nowhere.png",
        ),
        Case(
            "predict: a folder without images",
            "-m prompting predict run data/classification",
            "error: no images in data/classification",
        ),
        Case(
            "predict: an image that is none",
            "-m prompting predict run text.txt",
            "error: cannot decode text.txt: not an image",
        ),
        Case(
            "predict: an image that is cut",
            "-m prompting predict run photos/train/cat/0.png",
            "error: cannot decode photos/train/cat/0.png: image file is truncated...",
            {"photos/train/cat/0.png": truncate},
        ),
        Case(
            "predict: one image of a folder that is cut; the others are answered",
            "-m prompting predict run photos/test/cat",
            "error: cannot decode photos/test/cat/0.png: image file is truncated... error: 1 of 2 images could not be read",
            {"photos/test/cat/0.png": truncate},
            code=1,
        ),
        Case(
            "predict: a threshold that is no probability",
            "-m prompting predict run photos/train/cat/0.png --threshold 50",
            "error: --threshold is 50.0; it is a probability, from 0 to 1",
        ),
        Case(
            "predict: a file in the place of the folder to sort into",
            "-m prompting predict run photos/train/cat/0.png --sort-into table.csv",
            "error: --sort-into: table.csv is a file, not a folder",
        ),
        Case(
            "predict: an image that declares 60,000 x 60,000 pixels",
            "-m prompting predict run photos/train/cat/0.png",
            "error: cannot decode photos/train/cat/0.png: it declares more than 178,956,970 pixels",
            {"photos/train/cat/0.png": bomb},
        ),
        Case(
            "predict: no class asked for",
            "-m prompting predict run photos/train/cat/0.png --top 0",
            "error: --top is 0; it is at least 1",
        ),
        Case(
            "predict: a task that was not learned",
            "-m prompting predict run photos/train/cat/0.png --task birds",
            "error: the prompt was not learned on a task 'birds'; it knows photos",
        ),
        Case(
            "predict: classes without contexts",
            "-m prompting predict csc photos/train/cat/0.png --classes cat,bird",
            "error: the prompt has parameters for each of its own classes; 'bird' is none of them",
        ),
        Case(
            "predict: an unknown backbone",
            "-m prompting predict run photos/train/cat/0.png --backbone ViT-B/61",
            "error: unknown backbone 'ViT-B/61'; did you mean ViT-B/16, ...? It may also be the path of a checkpoint ...",
        ),
        Case(
            "predict: a folder without a model as the backbone",
            "-m prompting predict run photos/train/cat/0.png --backbone photos",
            "error: photos holds no model: neither open_clip_config.json and one of ..., nor config.json and ...",
        ),
        Case(
            "predict: a folder of another model of transformers",
            "-m prompting predict run photos/train/cat/0.png --backbone photos",
            "error: photos/config.json: its model_type is 'siglip'; of transformers' models only clip (CLIPModel) can be used. ...",
            {"photos/config.json": '{"model_type": "siglip"}'},
        ),
        Case(
            "predict: classes whose words the backbone does not know",
            "-m prompting predict run photos/train/cat/0.png --classes birds,wrens",
            "error: the backbone pocket knows few words, and too few of the class names 'birds', 'wrens' to tell them "
            "apart. Take another with --backbone, such as ViT-B/16 (--force: use them all the same)",
        ),
        Case(
            "predict: plain CLIP without classes",
            "-m prompting predict zeroshot photos/train/cat/0.png",
            "error: zeroshot needs --classes, the names to choose among",
        ),
        Case(
            "predict: a template for a prompt",
            "-m prompting predict run photos/train/cat/0.png --template 'a {}'",
            "error: --template belongs to zeroshot; a prompt has its own text",
        ),
        Case(
            "predict: an unknown device",
            "-m prompting predict run photos/train/cat/0.png --device gpu",
            "error: --device: 'gpu' can't be used here; there is cpu...",
        ),
        Case(
            "convert: a missing file",
            "-m prompting convert nowhere.pth.tar out.safetensors",
            "error: no checkpoint at nowhere.pth.tar",
        ),
        Case(
            "convert: what is no checkpoint",
            "-m prompting convert text.txt out.safetensors",
            "error: text.txt can't be read as a checkpoint: ...",
        ),
        Case(
            "convert: a checkpoint that would run a command",
            "-m prompting convert model.pth.tar out.safetensors",
            "error: model.pth.tar: ctx in its state dict is no tensor",
            {"model.pth.tar": hostile},
        ),
        Case(
            "convert: another ending",
            "-m prompting convert run out.npz",
            "error: out.npz is neither .safetensors nor .pth.tar: its ending says what is written",
        ),
        Case(
            "convert: an unknown position",
            "-m prompting convert run out.safetensors --position centre",
            "python -m prompting convert: error: argument --position: invalid choice: 'centre' (choose from ...)",
        ),
        Case(
            "convert: an epoch that was not kept",
            "-m prompting convert run out.safetensors --load-epoch 9",
            "error: no checkpoint run/prompt_learner/model.pth.tar-9; there are model-best.pth.tar, model.pth.tar-1",
        ),
        Case(
            "export: a missing prompt",
            "-m prompting export nowhere out.onnx",
            "error: no prompts at nowhere",
        ),
        Case(
            "export: a task that was not learned",
            "-m prompting export run out.onnx --task birds",
            "error: the prompt was not learned on a task 'birds'; it knows photos",
        ),
        Case(
            "export: a folder for a file",
            "-m prompting export run photos",
            "error: photos is a folder; give a file",
        ),
    ],
}
