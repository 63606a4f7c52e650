"""A dataset in the shape of those that come with CoOp: a split file, few-shot images
cached in a pickle.
"""

import os
import pickle

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.utils import mkdir_if_missing, read_json


@DATASET_REGISTRY.register()
class OthersPets(DatasetBase):
    dataset_dir = "pets"

    def __init__(self, cfg):
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        self.dataset_dir = os.path.join(root, self.dataset_dir)
        self.image_dir = os.path.join(self.dataset_dir, "images")
        self.split_path = os.path.join(self.dataset_dir, "split.json")
        self.split_fewshot_dir = os.path.join(cfg.OUTPUT_DIR, "split_fewshot")
        mkdir_if_missing(self.split_fewshot_dir)
        splits = read_json(self.split_path)
        train, val, test = (
            self._read(splits[name]) for name in ("train", "val", "test")
        )
        num_shots = cfg.DATASET.NUM_SHOTS
        if num_shots >= 1:
            cached = os.path.join(
                self.split_fewshot_dir, f"shot_{num_shots}-seed_{cfg.SEED}.pkl"
            )
            if os.path.exists(cached):
                with open(cached, "rb") as file:
                    train, val = pickle.load(file).values()
            else:
                train = self.generate_fewshot_dataset(train, num_shots=num_shots)
                val = self.generate_fewshot_dataset(val, num_shots=min(num_shots, 4))
                with open(cached, "wb") as file:
                    pickle.dump(
                        {"train": train, "val": val},
                        file,
                        protocol=pickle.HIGHEST_PROTOCOL,
                    )
        assert cfg.DATASET.SUBSAMPLE_CLASSES == "all"
        super().__init__(train_x=train, val=val, test=test)

    def _read(self, rows):
        return [
            Datum(
                impath=os.path.join(self.image_dir, path),
                label=int(label),
                classname=name,
            )
            for path, label, name in rows
        ]
