"""Wrong inputs of python -m datasets and of the scripts."""

from damage import Case

SECTIONS = {
    "python -m datasets": [
        Case(
            "an unknown command",
            "-m datasets shows mnist",
            "python -m datasets: error: argument COMMAND: invalid choice: 'shows' (choose from ...)",
        ),
        Case(
            "show: an unknown set",
            "-m datasets show minst",
            "error: no set is called 'minst'; the nearest names are mnist, ...",
        ),
        Case(
            "list: an unknown suite",
            "-m datasets list --suite elevator",
            "python -m datasets list: error: argument --suite: invalid choice: 'elevator' (choose from ...)",
        ),
        Case(
            "doctor: a missing data root",
            "-m datasets doctor --root nowhere",
            "error: data root nowhere is not a folder",
        ),
        Case(
            "doctor: an unknown set",
            "-m datasets doctor minst --root data",
            "error: no set is called 'minst'; the nearest names are mnist, ...",
        ),
        Case(
            "doctor: a set that is not there",
            "-m datasets doctor mnist --root data",
            "  error: classification/mnist_20211008: the folder does not exist, or is empty [missing-folder]",
            code=1,
        ),
        Case(
            "download: an unknown set",
            "-m datasets download minst --root data",
            "error: no set is called 'minst'; the nearest names are mnist, ...",
        ),
        Case(
            "download: an odd mirror",
            "-m datasets download mnist --root data --mirror ftp://x",
            "error: cannot fetch 'ftp://x/classification/mnist_20211008/labels.txt'; a URL begins with https://, http:// or gdrive:",
        ),
        Case(
            "prepare: an unknown set",
            "-m datasets prepare minst --root data --from torchvision",
            "error: no set is called 'minst'; the nearest names are mnist, ...",
        ),
        Case(
            "prepare: a set that torchvision lacks",
            "-m datasets prepare OxfordPets --root data --from torchvision",
            "error: torchvision has no copy of OxfordPets; it has one of ...",
        ),
        Case(
            "prepare: a set that is there",
            "-m datasets prepare patch-camelyon --root data --from torchvision",
            "error: data/classification/patch_camelyon_20211007 is there already and stays as it is; ...",
        ),
        Case(
            "prepare: a copy that is not there",
            "-m datasets prepare mnist --root data --from torchvision --offline",
            "error: torchvision.datasets.MNIST could not be read: ...",
            code=1,
        ),
        Case(
            "prepare: another source",
            "-m datasets prepare mnist --root data --from keras",
            "python -m datasets prepare: error: argument --from: invalid choice: 'keras' (choose from ...)",
        ),
    ],
    "python -m scripts.study, scripts.transfer, scripts.groups, scripts.report": [
        Case(
            "study: an unknown table",
            "-m scripts.study table9",
            "error: unknown item 'table9'; pocket has all, table1, table2, table3, table4, figure1, figure4, figure5, figure6",
        ),
        Case(
            "study: an unknown method",
            "-m scripts.study table1 --methods CoOpp --dry-run",
            "error: --methods: unknown method 'CoOpp'; the nearest is 'CoOp'",
        ),
        Case(
            "study: odd seeds",
            "-m scripts.study table1 --seeds 0,x --dry-run",
            "error: --seeds: whole numbers from 0, comma separated, not '0,x'",
        ),
        Case(
            "study: no process",
            "-m scripts.study table1 --jobs 0",
            "error: --jobs is 0; it must be positive",
        ),
        Case(
            "study: a missing suite",
            "-m scripts.study table1 --suite mine.yaml",
            "error: --suite: mine.yaml is none of pocket, pocket_updates, pocket_recipes, paper, and no such file is there",
        ),
        Case(
            "study: a suite that is no YAML",
            "-m scripts.study table1 --suite mine.yaml",
            "error: mine.yaml is no YAML: line 1: expected ',' or ']', but got '<stream end>'",
            {"mine.yaml": "[1"},
        ),
        Case(
            "study: a suite without keys",
            "-m scripts.study table1 --suite mine.yaml",
            "error: mine.yaml: backbone is missing; it is a name",
            {"mine.yaml": "seeds: [0]\n"},
        ),
        Case(
            "study: no data root",
            "-m scripts.study table1 --suite paper",
            "error: --root: the folder of the data sets is needed",
        ),
        Case(
            "study: an --output-dir that is a file",
            "-m scripts.study table1 --output-dir text.txt",
            "error: --output-dir (OUTPUT_DIR): text.txt is a file, not a folder",
        ),
        Case(
            "transfer: an unknown trainer",
            "-m scripts.transfer --trainer CoOpp --tasks folder:photos,csv:table.csv",
            "error: unknown trainer 'CoOpp' (--trainer, TRAINER.NAME): the nearest is 'CoOp'; there are ...",
        ),
        Case(
            "transfer: a trainer of several tasks",
            "-m scripts.transfer --trainer MCoOp --tasks folder:photos,csv:table.csv",
            "error: --trainer: MCoOp learns no prompt on one task alone; use CoOp, VPT or UPT",
        ),
        Case(
            "transfer: a head",
            "-m scripts.transfer --trainer GDA --tasks folder:photos,csv:table.csv",
            "error: --trainer: the prompt of GDA serves the classes of one task alone (a head has weights of each class)",
        ),
        Case(
            "transfer: one task",
            "-m scripts.transfer --trainer CoOp --tasks folder:photos",
            "error: --tasks: at least two tasks, each once, are compared",
        ),
        Case(
            "transfer: an unknown task",
            "-m scripts.transfer --trainer CoOp --tasks folder:photos,minst",
            "error: unknown dataset 'minst'; the nearest names are mnist, ...",
        ),
        Case(
            "transfer: no shots",
            "-m scripts.transfer --trainer CoOp --tasks folder:photos,csv:table.csv --shots 0",
            "error: --shots is 0: prompts are learned here",
        ),
        Case(
            "transfer: an unknown key",
            "-m scripts.transfer --trainer CoOp --tasks folder:photos,csv:table.csv OPTIM.RL 1",
            "error: unknown key 'OPTIM.RL'; the nearest is 'OPTIM.LR'",
        ),
        Case(
            "transfer: a missing folder of runs",
            "-m scripts.transfer --trainer CoOp --runs nowhere",
            "error: --runs: no folder nowhere",
        ),
        Case(
            "groups: a missing matrix",
            "-m scripts.groups nowhere.csv",
            "error: no matrix nowhere.csv",
        ),
        Case(
            "groups: a matrix that is none",
            "-m scripts.groups text.txt",
            "error: text.txt is not square: 0 source rows, 0 target columns",
        ),
        Case(
            "groups: a matrix with text",
            "-m scripts.groups matrix.csv",
            "error: matrix.csv: a on b is 'x', not a number",
            {"matrix.csv": "source,a,b\na,1,x\nb,3,4\n"},
        ),
        Case(
            "groups: more tasks than there are",
            "-m scripts.groups matrix.csv --size 3",
            "error: --size: a group has 1 to 2 tasks here, not 3",
        ),
        Case(
            "groups: a size that is none",
            "-m scripts.groups matrix.csv --size two",
            "error: --size: whole numbers from 1, comma separated, not 'two'",
        ),
        Case(
            "groups: a matrix that is no text",
            "-m scripts.groups matrix.csv",
            "error: matrix.csv is no CSV file: 'utf-8' codec can't decode ...",
            {"matrix.csv": b"\xff\xfe"},
        ),
        Case(
            "report: a missing folder",
            "-m scripts.report nowhere",
            "error: no folder nowhere",
        ),
        Case(
            "report: a folder without a run",
            "-m scripts.report photos",
            "error: photos holds no results (no results.json); is it the --output-dir of a finished run?",
        ),
        Case(
            "report: damaged results",
            "-m scripts.report run",
            "error: run/results.json is no JSON: ...",
            {"run/results.json": "["},
        ),
        Case(
            "report: a damaged configuration",
            "-m scripts.report run",
            "error: run/config.yaml is no configuration of a run: it holds no keys",
            {"run/config.yaml": "- 1\n"},
        ),
        Case(
            "report: one run twice",
            "-m scripts.report run run",
            "error: seed 0 is given twice: runs of one experiment differ in their seeds",
        ),
        Case(
            "report: a folder for a file",
            "-m scripts.report run -o photos",
            "error: -o photos is a folder; give a file",
        ),
        Case(
            "report: a missing matrix",
            "-m scripts.report run --transfer nowhere.csv",
            "error: --transfer: no nowhere.csv",
        ),
    ],
}
