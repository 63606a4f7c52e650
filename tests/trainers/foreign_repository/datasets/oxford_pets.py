"""A data set called as CoOp's: a split file, and few-shot images in a pickle."""

import os
import pickle

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import mkdir_if_missing, read_json


@DATASET_REGISTRY.register()
class OxfordPets(DatasetBase):
    dataset_dir = "pets"

    def __init__(self, cfg):
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        self.dataset_dir = os.path.join(root, self.dataset_dir)
        self.split_fewshot_dir = os.path.join(cfg.OUTPUT_DIR, "split_fewshot")
        splits = read_json(os.path.join(self.dataset_dir, "split.json"))
        train, val, test = (
            self.read(splits[name]) for name in ("train", "val", "test")
        )
        shots = cfg.DATASET.NUM_SHOTS
        if shots >= 1:
            mkdir_if_missing(self.split_fewshot_dir)
            path = os.path.join(
                self.split_fewshot_dir, f"shot_{shots}-seed_{cfg.SEED}.pkl"
            )
            if os.path.exists(path):
                with open(path, "rb") as file:
                    data = pickle.load(file)
                    train, val = data["train"], data["val"]
            else:
                train = self.generate_fewshot_dataset(train, num_shots=shots)
                val = self.generate_fewshot_dataset(val, num_shots=min(shots, 4))
                with open(path, "wb") as file:
                    pickle.dump({"train": train, "val": val}, file)
        super().__init__(train_x=train, val=val, test=test)

    def read(self, rows):
        folder = os.path.join(self.dataset_dir, "images")
        return [
            Datum(impath=os.path.join(folder, path), label=int(label), classname=name)
            for path, label, name in rows
        ]
