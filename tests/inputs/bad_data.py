"""Wrong inputs of train.py: data sets."""

from damage import Case, bomb, truncate

SECTIONS = {
    "train.py: data": [
        Case(
            "an unknown data set",
            "train.py --trainer CoOp --root data --dataset patch-camelion",
            "error: unknown dataset 'patch-camelion'; the nearest names are patch-camelyon, ...",
        ),
        Case(
            "a data set given twice",
            "train.py --trainer MCoOp --dataset folder:photos,folder:photos",
            "error: task photos is given twice",
        ),
        Case(
            "two data sets of one name",
            "train.py --trainer MCoOp --dataset folder:photos,csv:photos.csv",
            "error: task photos is given twice",
        ),
        Case(
            "a data set without a place",
            "train.py --trainer CoOp --dataset folder:",
            "error: 'folder:': expected folder:PATH",
        ),
        Case(
            "a missing data root",
            "train.py --trainer CoOp --root nowhere --dataset mnist",
            "error: no data root DIR/nowhere; pass --root (DATASET.ROOT)",
        ),
        Case(
            "no data root",
            "train.py --trainer CoOp --dataset mnist",
            "error: mnist: no folder DIR/classification/mnist_20211008 (DATASET.ROOT is empty; pass --root)",
        ),
        Case(
            "a data set that is not below the root",
            "train.py --trainer CoOp --root data --dataset mnist",
            "error: mnist: no folder DIR/data/classification/mnist_20211008",
        ),
        Case(
            "a missing index file",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: no file DIR/data/classification/patch_camelyon_20211007/test.txt",
            {"data/classification/patch_camelyon_20211007/test.txt": None},
        ),
        Case(
            "an index line without a label",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.txt:2: 'cat' is not a list of labels such as 3 or 0,4,17",
            {
                "data/classification/patch_camelyon_20211007/test.txt": "test.zip@0.png 0\ntest.zip@1.png cat\n"
            },
        ),
        Case(
            "an image outside of the folder",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.txt: '../../../secret.png' leads out of the folder of "
            "the data set; --allow-outside (DATASET.ALLOW_OUTSIDE) reads it anyway",
            {
                "data/classification/patch_camelyon_20211007/test.txt": "test.zip@0.png 0\n../../../secret.png 1\n"
            },
        ),
        Case(
            "classes that are one text to CLIP",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv: the classes 'night bird' and 'night_bird' are the same text to CLIP; rename one of them",
            {
                "table.csv": "path,label,split\na.png,night bird,train\nb.png,night_bird,test\n",
                "a.png": "",
                "b.png": "",
            },
        ),
        Case(
            "splits without class folders",
            "train.py --trainer CoOp --dataset folder:shots",
            "error: DIR/shots/Test has no sub-folders; each class is a sub-folder with its images, or use csv:FILE with a table "
            "of path, label and split",
            {"shots/Train/cat.png": "", "shots/Test/dog.png": ""},
        ),
        Case(
            "a label out of range",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.txt:1: label 7 is out of range: labels.txt has 2 classes",
            {
                "data/classification/patch_camelyon_20211007/test.txt": "test.zip@0.png 7\n"
            },
        ),
        Case(
            "a class without training images",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: class 1 ('lymph node ...') has no training image in DIR/data/.../train.txt",
            {
                "data/classification/patch_camelyon_20211007/train.txt": "train.zip@0.png 0\n"
            },
        ),
        Case(
            "no class names",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/labels.txt names no class",
            {"data/classification/patch_camelyon_20211007/labels.txt": "\n"},
        ),
        Case(
            "an empty index file",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.txt names no image",
            {"data/classification/patch_camelyon_20211007/test.txt": "\n"},
        ),
        Case(
            "a missing zip",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: no zip file DIR/data/classification/patch_camelyon_20211007/test.zip",
            {"data/classification/patch_camelyon_20211007/test.zip": None},
        ),
        Case(
            "a damaged zip",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.zip is not a readable zip file: File is not a zip file",
            {"data/classification/patch_camelyon_20211007/test.zip": truncate},
        ),
        Case(
            "a member that leads out of its zip",
            "train.py --trainer CoOp --root data --dataset patch-camelyon",
            "error: DIR/data/classification/patch_camelyon_20211007/test.zip has no member '../../0.png'",
            {
                "data/classification/patch_camelyon_20211007/test.txt": "test.zip@../../0.png 0\n"
            },
        ),
        Case(
            "a split file that is no JSON",
            "train.py --trainer CoOp --root data --dataset OxfordPets",
            "error: DIR/data/oxford_pets/split_zhou_OxfordPets.json:1: not valid json: ...",
            {"data/oxford_pets/split_zhou_OxfordPets.json": "{"},
        ),
        Case(
            "a split file without a split",
            "train.py --trainer CoOp --root data --dataset OxfordPets",
            "error: DIR/data/oxford_pets/split_zhou_OxfordPets.json: expected the lists train, val, test",
            {"data/oxford_pets/split_zhou_OxfordPets.json": '{"train": []}'},
        ),
        Case(
            "a split file with an odd entry",
            "train.py --trainer CoOp --root data --dataset OxfordPets",
            "error: DIR/data/oxford_pets/split_zhou_OxfordPets.json: test[0]: expected [path, label, class name], found 3",
            {
                "data/oxford_pets/split_zhou_OxfordPets.json": '{"train": [], "val": [], "test": [3]}'
            },
        ),
        Case(
            "a missing image",
            "train.py --trainer CoOp --root data --dataset OxfordPets",
            "error: no file DIR/data/oxford_pets/images/test_0.png",
            {"data/oxford_pets/images/test_0.png": None},
        ),
        Case(
            "a missing folder of images",
            "train.py --trainer CoOp --dataset folder:birds",
            "error: no folder DIR/birds",
        ),
        Case(
            "a folder without classes",
            "train.py --trainer CoOp --dataset folder:photos/train/cat",
            "error: DIR/photos/train/cat has no sub-folders; each class is a sub-folder with its images",
        ),
        Case(
            "a folder with one class",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos has one class, 'cat'; at least two classes are needed",
            {"photos/train/dog": None, "photos/test/dog": None},
        ),
        Case(
            "a folder without test/",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: no folder DIR/photos/test, though there is DIR/photos/train",
            {"photos/test": None},
        ),
        Case(
            "a class that only test/ has",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos/test/dog: 'dog' is no class of DIR/photos/train; the nearest is 'cat'",
            {"photos/train/dog": None},
        ),
        Case(
            "a class with one image",
            "train.py --trainer CoOp --dataset folder:birds",
            "error: DIR/birds/robin has 1 image; a class needs two, to train and to test",
            {"birds/robin/0.png": b"", "birds/wren/0.png": b""},
        ),
        Case(
            "an image that is cut",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: cannot decode DIR/photos/train/cat/0.png: image file is truncated...",
            {"photos/train/cat/0.png": truncate},
            begun=True,
        ),
        Case(
            "a test image that is cut",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: cannot decode DIR/photos/test/dog/1.png: image file is truncated...",
            {"photos/test/dog/1.png": truncate},
        ),
        Case(
            "an image that is none",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: cannot decode DIR/photos/train/cat/0.png: not an image",
            {"photos/train/cat/0.png": "hello"},
            begun=True,
        ),
        Case(
            "an image that declares 60,000 x 60,000 pixels",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: cannot decode DIR/photos/train/cat/0.png: it declares more than 178,956,970 pixels",
            {"photos/train/cat/0.png": bomb},
            begun=True,
        ),
        Case(
            "settings with an unknown key",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos.yaml: unknown key 'metrics'; the nearest is 'metric'",
            {"photos.yaml": "metrics: accuracy\n"},
        ),
        Case(
            "settings with an unknown metric",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos.yaml: metric is 'f1'; it is one of accuracy, mean-per-class, 11point_mAP, roc_auc",
            {"photos.yaml": "metric: f1\n"},
        ),
        Case(
            "settings with a template without a place",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos.yaml: templates: 'a photo' has no {} for the class name",
            {"photos.yaml": "templates: [a photo]\n"},
        ),
        Case(
            "settings that name other classes",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos/test/dog: 'dog' is none of the names in DIR/photos.yaml; the nearest is 'dogs'",
            {"photos.yaml": "names: [cat, dogs]\n"},
        ),
        Case(
            "settings with a name that is no file's",
            "train.py --trainer CoOp --dataset folder:photos",
            "error: DIR/photos.yaml: name: '../photos' can't be the name of a task, as files are called after it",
            {"photos.yaml": "name: ../photos\n"},
        ),
        Case(
            "a missing table",
            "train.py --trainer CoOp --dataset csv:birds.csv",
            "error: no file DIR/birds.csv",
        ),
        Case(
            "a table without a column",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv:1: no column label (or labels): the header must name ..., and it has path, class, split",
            {"table.csv": "path,class,split\nphotos/a.png,a,train\n"},
        ),
        Case(
            "a table without images",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv has a header, but no images",
            {"table.csv": "path,label,split\n"},
        ),
        Case(
            "a table's line with another number of fields",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv:2: 2 fields, but the header has 3",
            {"table.csv": "path,label,split\na.png,a\n"},
        ),
        Case(
            "a table with an unknown split",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv:2: unknown split 'tset'; it is train, val or test",
            {"table.csv": "path,label,split\na.png,a,tset\n"},
        ),
        Case(
            "a table with an image that is missing",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv:2: no file DIR/a.png",
            {"table.csv": "path,label,split\na.png,a,test\n"},
        ),
        Case(
            "a table with an image given twice",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv:3: photos/train/cat/0.png is also in line 2 (train); an image has one row, with all its labels",
            {
                "table.csv": "path,label,split\nphotos/train/cat/0.png,a,train\nphotos/train/cat/0.png,b,test\n"
            },
        ),
        Case(
            "a table with one class",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv has one class, 'a'; at least two classes are needed",
            {
                "table.csv": "path,label,split\nphotos/train/cat/0.png,a,train\nphotos/test/cat/0.png,a,test\n"
            },
        ),
        Case(
            "a table without test images",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv has no test images",
            {
                "table.csv": "path,label,split\nphotos/train/cat/0.png,a,train\nphotos/test/cat/0.png,b,train\n"
            },
        ),
        Case(
            "a table that is no text",
            "train.py --trainer CoOp --dataset csv:table.csv",
            "error: DIR/table.csv is not UTF-8 text: 'utf-8' codec can't decode ...",
            {"table.csv": b"path,label,split\n\xff\xfe,a,train\n"},
        ),
    ],
}
