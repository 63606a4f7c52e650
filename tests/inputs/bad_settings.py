"""Wrong inputs of train.py: flags, keys, checkpoints, backbones and folders."""

from damage import Case, hostile, truncate

SECTIONS = {
    "train.py: the command line": [
        Case(
            "an unknown trainer",
            "train.py --trainer CoOpp --dataset folder:photos",
            "error: unknown trainer 'CoOpp' (--trainer, TRAINER.NAME): the nearest is 'CoOp'; there are ...",
        ),
        Case(
            "a trainer in another case",
            "train.py --trainer vpt --dataset folder:photos",
            "error: unknown trainer 'vpt' (--trainer, TRAINER.NAME): the nearest is 'VPT'; there are ...",
        ),
        Case(
            "an unknown flag",
            "train.py --trainer CoOp --dataset folder:photos --shot 5 --traner VPT",
            "train.py: error: unrecognized arguments: --traner...",
        ),
        Case(
            "a flag without its value",
            "train.py --trainer CoOp --dataset folder:photos --seed",
            "train.py: error: argument --seed: expected one argument",
        ),
        Case(
            "a flag that takes a number",
            "train.py --trainer CoOp --dataset folder:photos --seed one",
            "train.py: error: argument --seed: invalid int value: 'one'",
        ),
        Case(
            "a negative seed",
            "train.py --trainer CoOp --dataset folder:photos --seed -1",
            "error: SEED (--seed) is -1; a seed is 0 or more",
        ),
        Case(
            "shots below -1",
            "train.py --trainer CoOp --dataset folder:photos --shots -2",
            "error: DATASET.NUM_SHOTS (--shots) is -2; give the images per class, 0 for none or -1 for all",
        ),
        Case(
            "a flag after KEY VALUE pairs",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR 0.1 --shots 5",
            "error: --shots: flags come before the trailing KEY VALUE pairs",
        ),
        Case(
            "a key without a value",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR",
            "error: trailing options come in pairs KEY VALUE; 'OPTIM.LR' is left over",
        ),
        Case(
            "an unknown key",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.RL 0.1",
            "error: unknown key 'OPTIM.RL'; the nearest is 'OPTIM.LR'",
        ),
        Case(
            "text for a number",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR fast",
            "error: OPTIM.LR is a number, not 'fast'",
        ),
        Case(
            "no number at all",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR nan",
            "error: OPTIM.LR is nan; it is from 0 to 1e+30",
        ),
        Case(
            "a negative learning rate",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR -1",
            "error: OPTIM.LR is -1.0; it is from 0 to 1e+30",
        ),
        Case(
            "a fraction for a whole number",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.MAX_EPOCH 2.5",
            "error: OPTIM.MAX_EPOCH is a whole number, not 2.5",
        ),
        Case(
            "no epoch",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.MAX_EPOCH 0",
            "error: OPTIM.MAX_EPOCH is 0; it must be positive",
        ),
        Case(
            "no batch",
            "train.py --trainer CoOp --dataset folder:photos DATALOADER.TRAIN_X.BATCH_SIZE 0",
            "error: DATALOADER.TRAIN_X.BATCH_SIZE is 0; it must be positive",
        ),
        Case(
            "text for True or False",
            "train.py --trainer CoOp --dataset folder:photos TRAINER.MVLPT.COOP.CSC maybe",
            "error: TRAINER.MVLPT.COOP.CSC is True or False, not 'maybe'",
        ),
        Case(
            "an unknown optimiser",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.NAME sdg",
            "error: OPTIM.NAME is 'sdg'; it is one of adam, amsgrad, sgd, rmsprop, radam, adamw (nearest: sgd)",
        ),
        Case(
            "an unknown schedule",
            "train.py --trainer CoOp --dataset folder:photos OPTIM.LR_SCHEDULER cosin",
            "error: OPTIM.LR_SCHEDULER is 'cosin'; it is one of single_step, multi_step, cosine (nearest: cosine)",
        ),
        Case(
            "an unknown background",
            "train.py --trainer CoOp --dataset folder:photos INPUT.BACKGROUND grey",
            "error: INPUT.BACKGROUND is 'grey'; it is one of white, black, none (nearest: ...)",
        ),
        Case(
            "an unknown precision",
            "train.py --trainer CoOp --dataset folder:photos TRAINER.MVLPT.PREC fp8",
            "error: TRAINER.MVLPT.PREC is 'fp8'; it is one of fp32, fp16, bf16, amp (nearest: fp32)",
        ),
        Case(
            "an unknown final model",
            "train.py --trainer CoOp --dataset folder:photos TEST.FINAL_MODEL best",
            "error: TEST.FINAL_MODEL is 'best'; it is one of last_step, best_val (nearest: best_val)",
        ),
        Case(
            "no context",
            "train.py --trainer CoOp --dataset folder:photos TRAINER.MVLPT.COOP.N_CTX 0",
            "error: TRAINER.MVLPT.COOP.N_CTX is 0; this trainer needs at least 1",
        ),
        Case(
            "more context than the text tower takes",
            "train.py --trainer CoOp --dataset folder:photos TRAINER.MVLPT.COOP.N_CTX 80",
            "error: keys below TRAINER, the prompt of CoOp: n_ctx 80 leaves no room for a class name in a context of 32 tokens",
        ),
        Case(
            "an unknown place of the class name",
            "train.py --trainer CoOp --dataset folder:photos TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION centre",
            "error: TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION is 'centre'; it is one of front, middle, end (nearest: end)",
        ),
        Case(
            "class-specific contexts of several tasks",
            "train.py --trainer MCoOp --dataset folder:photos,csv:table.csv TRAINER.MVLPT.COOP.CSC True",
            "error: TRAINER.MVLPT.COOP.CSC: a class-specific context belongs to one task's classes, it can't serve several tasks",
        ),
        Case(
            "source tasks for a single-task trainer",
            "train.py --trainer CoOp --dataset folder:photos --source csv:table.csv",
            "error: --source (MULTITASK.SOURCE): CoOp learns one task at a time; use MCoOp",
        ),
        Case(
            "nothing to learn from",
            "train.py --trainer CoOp --dataset folder:photos --shots 0",
            "error: nothing to evaluate: without training (--eval-only, --shots 0) CoOp needs --model-dir, the folder of a run...",
        ),
        Case(
            "an unknown mixing",
            "train.py --trainer MCoOp --dataset folder:photos,csv:table.csv MULTITASK.MIXING unifrom",
            "error: MULTITASK.MIXING is 'unifrom'; it is one of proportional, uniform, temperature (nearest: uniform)",
        ),
        Case(
            "--overwrite of what is no run",
            "train.py --trainer CoOp --dataset folder:photos --output-dir photos --overwrite",
            "error: --overwrite: photos holds no run (no config.yaml), so it is left alone",
        ),
        Case(
            "both --resume and --overwrite",
            "train.py --trainer CoOp --dataset folder:photos --output-dir run --resume auto --overwrite",
            "error: --resume continues a run, --overwrite starts it again: give one of them",
        ),
        Case(
            "--resume of what is no run",
            "train.py --trainer CoOp --dataset folder:photos --resume photos",
            "error: --resume (RESUME): photos holds no run (no config.yaml)",
        ),
    ],
    "train.py: checkpoints, backbones and folders": [
        Case(
            "--eval-only without a prompt",
            "train.py --trainer CoOp --dataset folder:photos --eval-only",
            "error: --eval-only needs --model-dir, the folder of the run to evaluate",
        ),
        Case(
            "a missing --model-dir",
            "train.py --trainer CoOp --dataset folder:photos --model-dir nowhere",
            "error: no checkpoint nowhere/prompt_learner/model-best.pth.tar",
        ),
        Case(
            "a --model-dir without a prompt",
            "train.py --trainer CoOp --dataset folder:photos --model-dir photos --eval-only",
            "error: no checkpoint photos/prompt_learner/model-best.pth.tar",
        ),
        Case(
            "an epoch that was not kept",
            "train.py --trainer CoOp --dataset folder:photos --model-dir run --load-epoch 9 --eval-only",
            "error: no checkpoint run/prompt_learner/model.pth.tar-9; there are model-best.pth.tar, model.pth.tar-1",
        ),
        Case(
            "a prompt of another shape",
            "train.py --trainer CoOp --dataset folder:photos --model-dir run --eval-only TRAINER.MVLPT.COOP.N_CTX 8",
            "error: run/prompt_learner/model-best.pth.tar holds a text prompt of 5 vectors, 128 wide: ...: ctx has n_ctx 5, not 8",
        ),
        Case(
            "a key that contradicts the prompt",
            "train.py --trainer CoOp --dataset folder:photos --model-dir run --eval-only "
            "TRAINER.COOP.CLASS_TOKEN_POSITION front",
            "error: run/prompt_learner/model-best.pth.tar: its prompt was trained with "
            "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION middle, but front is given",
        ),
        Case(
            "a prompt of another method",
            "train.py --trainer VPT --dataset folder:photos --model-dir run --eval-only",
            "error: run/prompt_learner/model-best.pth.tar holds a text prompt of 5 vectors, 128 wide: ...: tensors of another method ...",
        ),
        Case(
            "class-specific contexts of other classes",
            "train.py --trainer CoOp --root data --dataset patch-camelyon --model-dir csc "
            "TRAINER.MVLPT.COOP.N_CTX 5 TRAINER.MVLPT.COOP.CSC True",
            "error: csc holds vectors of another class list: ...",
        ),
        Case(
            "a damaged checkpoint",
            "train.py --trainer CoOp --dataset folder:photos --model-dir run --eval-only TRAINER.MVLPT.COOP.N_CTX 5",
            "error: run/prompt_learner/model-best.pth.tar can't be read as a checkpoint: File is not a zip file",
            {"run/prompt_learner/model-best.pth.tar": truncate},
        ),
        Case(
            "a checkpoint that would run a command",
            "train.py --trainer CoOp --dataset folder:photos --model-dir run --eval-only TRAINER.MVLPT.COOP.N_CTX 5",
            "error: run/prompt_learner/model-best.pth.tar: ctx in its state dict is no tensor",
            {"run/prompt_learner/model-best.pth.tar": hostile},
        ),
        Case(
            "an unknown backbone",
            "train.py --trainer CoOp --dataset folder:photos --backbone ViT-B/61",
            "error: unknown backbone 'ViT-B/61'; did you mean ViT-B/16, ...? It may also be the path of a checkpoint ...",
        ),
        Case(
            "classes whose words the backbone does not know",
            "train.py --trainer VPT --dataset csv:words.csv --shots 2",
            "error: words: the backbone pocket knows few words, and too few of the class names 'robin', 'wren' to tell them "
            "apart. Take another with --backbone, such as ViT-B/16 (--force: use them all the same)",
            {
                "words.csv": "path,label,split\nphotos/train/cat/0.png,robin,train\nphotos/train/dog/0.png,wren,train\n"
                "photos/test/cat/0.png,robin,test\nphotos/test/dog/0.png,wren,test\n"
            },
        ),
        Case(
            "a backbone's file that is missing",
            "train.py --trainer CoOp --dataset folder:photos --backbone ./clip.pt",
            "error: no checkpoint at ./clip.pt",
        ),
        Case(
            "a backbone's file that is none",
            "train.py --trainer CoOp --dataset folder:photos --backbone ./text.txt",
            "error: text.txt cannot be read as a checkpoint: its pickle is damaged",
        ),
        Case(
            "a backbone's file that would run a command",
            "train.py --trainer CoOp --dataset folder:photos --backbone ./clip.pt",
            "error: clip.pt cannot be read as a checkpoint: it is damaged, or holds more than tensors",
            {"clip.pt": hostile},
        ),
        Case(
            "unknown weights of a backbone",
            "train.py --trainer CoOp --dataset folder:photos --backbone RN50 MODEL.BACKBONE.PRETRAINED laion",
            "error: no weights 'laion' of RN50 (MODEL.BACKBONE.PRETRAINED, --pretrained): give a file or one of open_clip's "
            "tags: openai, ...",
        ),
        Case(
            "a folder with another run",
            "train.py --trainer CoOp --dataset folder:photos --output-dir run",
            "error: run holds another run, it differs in ...: use another --output-dir, or --overwrite it",
        ),
        Case(
            "a folder whose run is damaged",
            "train.py --trainer CoOp --dataset folder:photos --output-dir run",
            "error: run/config.yaml is damaged or missing, and of another run than this one: --overwrite starts again",
            {"run/config.yaml": "- 1\n"},
        ),
        Case(
            "an --output-dir that is a file",
            "train.py --trainer CoOp --dataset folder:photos --output-dir text.txt",
            "error: --output-dir (OUTPUT_DIR): text.txt is a file, not a folder",
        ),
        Case(
            "an --output-dir below a file",
            "train.py --trainer CoOp --dataset folder:photos --output-dir text.txt/run",
            "error: --output-dir (OUTPUT_DIR): text.txt is a file, not a folder",
        ),
    ],
}
