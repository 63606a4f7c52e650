"""A data set that is built on another of its repository."""

from dassl.data.datasets import DATASET_REGISTRY

from datasets.oxford_pets import OxfordPets


@DATASET_REGISTRY.register()
class DescribableTextures(OxfordPets):
    pass
