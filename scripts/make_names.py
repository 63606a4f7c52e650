"""Write datasets/class_names/*.txt and datasets/templates.json from what maintained packages ship: `python -m scripts.make_names`.

A file holds one class a line, in label order: `name as prompts need it | other spellings by which data may call it`.

Source packages, fetched by pip into a temporary folder and read as zips, never imported (as requirements they are far too heavy):
- clip-benchmark: OpenAI's class names and templates for 11 sets (`en_classnames.json`, `en_zeroshot_classification_templates.json`);
- tensorflow-datasets: the official label lists of cars, DTD, flowers, food, RESISC45, SUN397 and UCF101;
- mmpretrain: those of CIFAR, FGVC-Aircraft and VOC; timm: WordNet ids of ImageNet, ImageNet-A and -R; pycountry: country codes.
OpenAI's names for a set without a list in clip-benchmark are the official ones with spaces for underscores. ELEVATER's label order differs
from OpenAI's for several sets; `ORDERS` says how. The lists are data of the repository: run this only to change them.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "datasets"
WHEELS = (
    "clip-benchmark==1.6.2",
    "tensorflow-datasets==4.9.10",
    "mmpretrain==1.2.0",
    "timm==1.0.31",
    "pycountry==26.2.16",
)
CATS = (
    "Abyssinian",
    "Bengal",
    "Birman",
    "Bombay",
    "British Shorthair",
    "Egyptian Mau",
    "Maine Coon",
    "Persian",
    "Ragdoll",
    "Russian Blue",
    "Siamese",
    "Sphynx",
)  # cats are capitalised, dogs are not

# ELEVATER's index -> index in the alphabetical (official) list of CIFAR-100.
CIFAR_100 = """
21 91 75 79 20 85 39 46 95 45 37 7 3 74 9 28 13 53 71 52 5 92 65 76 0 47 59 77 57 12 90 49 18 27 78 38 30 19 66 51 36 10 40 69 58
97 99 55 82 42 67 41 48 11 34 56 23 29 93 33 25 62 70 6 35 22 16 84 68 54 81 80 26 14 89 4 96 15 60 50 31 32 83 61 87 1 94 72 44
24 63 98 64 2 88 86 73 43 17 8
"""
EUROSAT = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
EUROSAT_COOP = (
    "Annual Crop Land",
    "Forest",
    "Herbaceous Vegetation Land",
    "Highway or Road",
    "Industrial Buildings",
    "Pasture Land",
    "Permanent Crop Land",
    "Residential Buildings",
    "River",
    "Sea or Lake",
)
FER = (
    "angry|anger",
    "disgusted|disgust",
    "fearful|fear",
    "happy|smiling|happiness",
    "neutral|bored",
    "sad|depressed|sadness",
    "surprised|shocked|spooked|surprise",
)
COUNTRY_CODES = {  # names that pycountry writes otherwise
    "Aland Islands": "AX",
    "Bonaire, Saint Eustatius and Saba": "BQ",
    "DR Congo": "CD",
    "Cote d'Ivoire": "CI",
    "Curacao": "CW",
    "Czech Republic": "CZ",
    "Falkland Islands": "FK",
    "Faeroe Islands": "FO",
    "South Georgia and South Sandwich Is.": "GS",
    "Kyrgyz Republic": "KG",
    "St. Kitts and Nevis": "KN",
    "North Korea": "KP",
    "South Korea": "KR",
    "Laos": "LA",
    "St. Lucia": "LC",
    "Saint-Martin": "MF",
    "Macedonia": "MK",
    "Macau": "MO",
    "Palestine": "PS",
    "Reunion": "RE",
    "Russia": "RU",
    "St. Helena": "SH",
    "Svalbard and Jan Mayen Islands": "SJ",
    "Sint Maarten": "SX",
    "Turkey": "TR",
    "Vatican": "VA",
    "British Virgin Islands": "VG",
    "United States Virgin Islands": "VI",
    "Kosovo": "XK",
    "Brunei Darussalam": "BN",
}
GTSRB = (  # the usual short names, in the order of the official class ids
    "Speed limit (20km/h)",
    "Speed limit (30km/h)",
    "Speed limit (50km/h)",
    "Speed limit (60km/h)",
    "Speed limit (70km/h)",
    "Speed limit (80km/h)",
    "End of speed limit (80km/h)",
    "Speed limit (100km/h)",
    "Speed limit (120km/h)",
    "No passing",
    "No passing for vehicles over 3.5 metric tons",
    "Right-of-way at the next intersection",
    "Priority road",
    "Yield",
    "Stop",
    "No vehicles",
    "Vehicles over 3.5 metric tons prohibited",
    "No entry",
    "General caution",
    "Dangerous curve to the left",
    "Dangerous curve to the right",
    "Double curve",
    "Bumpy road",
    "Slippery road",
    "Road narrows on the right",
    "Road work",
    "Traffic signals",
    "Pedestrians",
    "Children crossing",
    "Bicycles crossing",
    "Beware of ice/snow",
    "Wild animals crossing",
    "End of all speed and passing limits",
    "Turn right ahead",
    "Turn left ahead",
    "Ahead only",
    "Go straight or right",
    "Go straight or left",
    "Keep right",
    "Keep left",
    "Roundabout mandatory",
    "End of no passing",
    "End of no passing by vehicles over 3.5 metric tons",
)


class Wheels:
    """The source packages' files."""

    def __init__(self, folder: str):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
            folder,
            *WHEELS,
        ]
        subprocess.run(command, check=True)
        self.files = [zipfile.ZipFile(path) for path in Path(folder).glob("*.whl")]

    def text(self, member: str) -> str:
        """A file of any of the packages."""
        return next(file for file in self.files if member in file.namelist()).read(member).decode()

    def lines(self, member: str) -> list[str]:
        return self.text(member).split()

    def constant(self, module: str, name: str) -> list[str]:
        """The literal list that a module assigns to `name`."""
        nodes = (node for node in ast.walk(ast.parse(self.text(module))) if isinstance(node, ast.Assign))
        return next(list(ast.literal_eval(node.value)) for node in nodes if getattr(node.targets[0], "id", "") == name)


def spaced(names: list[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def plain(name: str) -> str:
    """What is left of a name when case, spaces and punctuation do not count (the rule of `datasets.names`)."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("&", "and"))


def listed(names, *others) -> list[str]:
    """Lines `name | other | ...`; an alias that says nothing new is left out."""
    rows = []
    for name, *more in zip(names, *others, strict=True):
        aliases = [alias for field in more for alias in field.split("|")]
        seen = {plain(name)}
        rows.append(
            " | ".join([name, *(alias for alias in aliases if plain(alias) not in seen and not seen.add(plain(alias)))])
        )
    return rows


def caltech(wheels: Wheels, openai: dict) -> tuple[list[str], list[str]]:
    """ELEVATER's 102 by lower-cased folder name, where the face pair is the other way round than in OpenAI's list; CoOp's 100."""
    raw = wheels.constant("mmpretrain/datasets/categories.py", "CALTECH101_CATEGORIES")
    order = sorted(range(len(raw)), key=lambda k: raw[k].lower())
    names = [openai["caltech101"][k] for k in order]
    first = names.index("off-center face")
    names[first : first + 2] = ["centered face", "off-center face"]
    aliases = [raw[k] for k in order]
    aliases[first : first + 2] = ["Faces|Faces_easy", "Faces_easy|Faces"]  # whichever of them stands there
    renamed = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}
    kept = sorted(name for name in raw if name not in ("BACKGROUND_Google", "Faces_easy"))
    return listed(names, aliases), listed([renamed.get(name, name) for name in kept], kept)


def countries(wheels: Wheels, names: list[str]) -> list[str]:
    codes = {}
    for record in json.loads(wheels.text("pycountry/databases/iso3166-1.json"))["3166-1"]:
        codes |= {record[key]: record["alpha_2"] for key in ("name", "common_name") if key in record}
        codes |= {record["name"].split(",")[0]: record["alpha_2"]} if "," in record["name"] else {}
    found = [COUNTRY_CODES.get(name) or codes[name] for name in names]
    if found != sorted(set(found)):
        raise ValueError("country211 is not in the order of its country codes")
    return listed(names, found)


def imagenet(wheels: Wheels) -> dict[str, list[str]]:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    wnids = wheels.lines("timm/data/_info/imagenet_synsets.txt")
    words = {
        row[0]: row[1]
        for row in csv.reader(io.StringIO(wheels.text("timm/data/_info/imagenet_synset_to_lemma.txt")), delimiter="\t")
    }
    rows = dict(zip(wnids, listed(IMAGENET_CLASSNAMES, wnids, [words[wnid] for wnid in wnids]), strict=True))
    subsets = {
        name: wheels.lines(f"timm/data/_info/imagenet_{name[-1].lower()}_synsets.txt")
        for name in ("ImageNetA", "ImageNetR")
    }
    return {"imagenet-1k": list(rows.values())} | {
        name: [rows[wnid] for wnid in sorted(ids)] for name, ids in subsets.items()
    }


def class_names(wheels: Wheels) -> dict[str, list[str]]:
    """File name -> its lines."""
    tfds = "tensorflow_datasets/"
    openai = json.loads(wheels.text("clip_benchmark/datasets/en_classnames.json"))
    known = "mmpretrain/datasets/categories.py"
    cars = wheels.constant(tfds + "image_classification/cars196.py", "_NAMES")
    aircraft = wheels.constant(known, "FGVCAIRCRAFT_CATEGORIES")
    food = wheels.lines(tfds + "image_classification/food-101_classes.txt")
    flowers = wheels.constant(tfds + "datasets/oxford_flowers102/oxford_flowers102_dataset_builder.py", "_NAMES")
    flowers = [name.rstrip("?") for name in flowers]
    flower_aliases = ["lotus lotus" if name == "lotus" else name for name in flowers]
    textures = wheels.lines(tfds + "image_classification/dtd_key_attributes.txt")
    pets = sorted((name if name in CATS else name.lower() for name in openai["pets"]), key=str.lower)
    cifar_100 = spaced(wheels.constant(known, "CIFAR100_CATEGORIES"))
    scenes = [line.split("/")[2:] for line in wheels.lines(tfds + "image_classification/sun397_labels.txt")]
    actions = wheels.lines(tfds + "video/ucf101_labels.txt")
    elevater_caltech, coop_caltech = caltech(wheels, openai)
    lists = {
        "caltech-101": elevater_caltech,
        "cifar-10": wheels.constant(known, "CIFAR10_CATEGORIES"),
        "cifar-100": [cifar_100[int(k)] for k in CIFAR_100.split()],
        "country211": countries(wheels, openai["country211"]),
        "dtd": textures,
        "eurosat_clip": listed(openai["eurosat"], EUROSAT, EUROSAT_COOP),
        "fer-2013": listed([names.split("|")[0] for names in FER], FER),
        "fgvc-aircraft-2013b-variants102": sorted((name.replace("/", "-") for name in aircraft), key=str.lower),
        "food-101": spaced(sorted(food, key=str.upper)),
        "gtsrb": listed(openai["gtsrb"], GTSRB),
        "hateful-memes": listed(
            ["meme", "hatespeech meme"], ["not hateful|non-hateful|benign|no-hate", "hateful|hateful meme|hate"]
        ),
        "kitti-distance": openai["kitti_closest_vehicle_distance"],
        "mnist": listed(
            "0123456789",
            "zero one two three four five six seven eight nine".split(),
            wheels.constant(known, "MNIST_CATEGORITES"),
        ),
        "oxford-flower-102": listed(openai["flowers"], flowers),
        "oxford-iiit-pets": pets,
        "patch-camelyon": listed(
            openai["pcam"], ["normal|no tumor|non-tumor|negative", "tumor|tumour|metastasis|positive"]
        ),
        "rendered-sst2": ["negative", "positive"],
        "resisc45_clip": spaced(wheels.constant(tfds + "datasets/resisc45/resisc45_dataset_builder.py", "_LABELS")),
        "stanford-cars": sorted(
            (name.replace("/", " ") for name in cars), key=lambda name: name.upper().replace(" ", "_")
        ),
        "voc-2007-classification": sorted(wheels.constant(known, "VOC2007_CATEGORIES")),
        "Caltech101": coop_caltech,
        "OxfordPets": [name.lower().replace(" ", "_") for name in pets],
        "StanfordCars": listed([" ".join(name.split()[-1:] + name.split()[:-1]) for name in cars], cars),
        "OxfordFlowers": listed(flowers, flower_aliases),
        "Food101": sorted(food),
        "FGVCAircraft": aircraft,
        "SUN397": [" ".join(reversed(parts)) for parts in scenes],
        "DescribableTextures": textures,
        "EuroSAT": listed(EUROSAT_COOP, EUROSAT),
        "UCF101": ["_".join(re.findall("[A-Z][^A-Z]*", action)) for action in actions],
    }
    return lists | imagenet(wheels)


def templates(wheels: Wheels) -> dict[str, list[str]]:
    """ELEVATER's, which are OpenAI's: set -> templates with {} for the class name."""
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    shipped = json.loads(wheels.text("clip_benchmark/datasets/en_zeroshot_classification_templates.json"))
    same = {
        "caltech-101": "caltech101",
        "cifar-10": "cifar10",
        "cifar-100": "cifar100",
        "country211": "country211",
        "dtd": "dtd",
        "eurosat_clip": "eurosat",
        "fer-2013": "fer2013",
        "fgvc-aircraft-2013b-variants102": "fgvc_aircraft",
        "food-101": "food101",
        "gtsrb": "gtsrb",
        "kitti-distance": "kitti_closest_vehicle_distance",
        "mnist": "mnist",
        "oxford-flower-102": "flowers",
        "oxford-iiit-pets": "pets",
        "rendered-sst2": "renderedsst2",
        "stanford-cars": "cars",
        "voc-2007-classification": "voc2007",
    }
    sets = {name: [template.replace("{c}", "{}") for template in shipped[key]] for name, key in same.items()}
    kinds = ("satellite imagery", "aerial imagery", "satellite photo", "aerial photo", "satellite view", "aerial view")
    sets["resisc45_clip"] = [f"{kind} of {article}{{}}." for article in ("", "a ", "the ") for kind in kinds]
    sets["hateful-memes"] = ["a {}."]
    sets["patch-camelyon"] = ["this is a photo of {}"]
    sets["imagenet-1k"] = [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    return dict(sorted(sets.items()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wheels = Wheels(folder)
        (OUT / "class_names").mkdir(exist_ok=True)
        for name, rows in class_names(wheels).items():
            (OUT / "class_names" / f"{name}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (OUT / "templates.json").write_text(json.dumps(templates(wheels), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
