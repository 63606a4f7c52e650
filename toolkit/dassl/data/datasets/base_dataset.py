"""An item (``Datum``) and a dataset of items with up to four splits."""

import logging
import os
import random
import tarfile
import zipfile
from collections.abc import Iterable, Sequence
from operator import attrgetter

from toolkit.common.grouping import grouped

from ...utils import check_availability, download_url, mkdir_if_missing

logger = logging.getLogger(__name__)


class Datum:
    """One image file with its label. Raises FileNotFoundError if there is no file."""

    def __init__(
        self,
        impath: str | os.PathLike = "",
        label: int = 0,
        domain: int = 0,
        classname: str = "",
    ):
        if not os.path.isfile(impath):
            raise FileNotFoundError(f"No image found: {impath}")
        self._impath = os.fspath(impath)
        self._label = label
        self._domain = domain
        self._classname = classname

    impath = property(attrgetter("_impath"))
    label = property(attrgetter("_label"))
    domain = property(attrgetter("_domain"))
    classname = property(attrgetter("_classname"))

    def __repr__(self) -> str:
        return f"Datum({self._impath!r}, {self._label}, {self._domain}, {self._classname!r})"


class DatasetBase:
    """A dataset: lists of items, or None, for training, training without labels,
    validation and test. Subclasses are constructed with ``cfg`` alone. Labels run from
    0; ``num_classes``, ``lab2cname`` and ``classnames`` are those of ``train_x``.
    """

    dataset_dir = ""  # folder below cfg.DATASET.ROOT
    domains: Sequence[str] = ()  # names of the domains, if it has any

    def __init__(
        self,
        train_x: list | None = None,
        train_u: list | None = None,
        val: list | None = None,
        test: list | None = None,
    ):
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        labelled = train_x or test or []
        self._num_classes = self.get_num_classes(labelled)
        self._lab2cname, self._classnames = self.get_lab2cname(labelled)

    train_x = property(attrgetter("_train_x"))
    train_u = property(attrgetter("_train_u"))
    val = property(attrgetter("_val"))
    test = property(attrgetter("_test"))
    lab2cname = property(attrgetter("_lab2cname"))
    classnames = property(attrgetter("_classnames"))
    num_classes = property(attrgetter("_num_classes"))

    @staticmethod
    def get_num_classes(data_source: Iterable) -> int:
        """Return the largest label + 1."""
        return max((item.label for item in data_source), default=-1) + 1

    @staticmethod
    def get_lab2cname(data_source: Iterable) -> tuple[dict[int, str], list[str]]:
        """Return (label -> class name, class names), both in order of labels."""
        names = {item.label: item.classname for item in data_source}
        lab2cname = {label: names[label] for label in sorted(names)}
        return lab2cname, list(lab2cname.values())

    def check_input_domains(
        self, source_domains: Sequence[str], target_domains: Sequence[str]
    ) -> None:
        """Raise ValueError for no source, or a domain that the dataset lacks."""
        if not source_domains:
            raise ValueError("DATASET.SOURCE_DOMAINS is empty: name one domain or more")
        self.is_input_domain_valid(source_domains)
        self.is_input_domain_valid(target_domains)

    def is_input_domain_valid(self, input_domains: Sequence[str]) -> None:
        """Raise ValueError for a domain that the dataset lacks."""
        for domain in input_domains:
            check_availability(domain, list(self.domains))

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Download an archive (zip or tar) to the file ``dst`` and unpack it beside
        itself. Raise ImportError for ``from_gdrive`` without gdown, ValueError for no
        archive.
        """
        folder = os.path.dirname(os.path.abspath(dst))
        mkdir_if_missing(folder)
        if from_gdrive:
            try:
                import gdown
            except ImportError as error:
                raise ImportError(
                    f"Downloading {url} needs the package gdown: pip install gdown"
                ) from error
            gdown.download(url, dst, quiet=False)
        else:
            download_url(url, dst)

        logger.info("Unpacking %s", dst)
        if zipfile.is_zipfile(dst):
            with zipfile.ZipFile(dst) as archive:
                archive.extractall(folder)
        elif tarfile.is_tarfile(dst):
            with tarfile.open(dst) as archive:
                archive.extractall(folder, filter="data")
        else:
            raise ValueError(f"{dst} is neither a zip nor a tar archive")

    def generate_fewshot_dataset(
        self, *data_sources: list, num_shots: int = -1, repeat: bool = False
    ):
        """Return ``num_shots`` random items of each class (below 1: all) from each
        source: one list for one source, else a list of lists. repeat: sample a class
        that has too few items with replacement; otherwise take all of them.
        """
        samples = data_sources
        if num_shots >= 1:
            logger.info("Creating a %d-shot dataset", num_shots)
            samples = [self._sample(items, num_shots, repeat) for items in data_sources]
        return samples[0] if len(samples) == 1 else samples

    def _sample(self, source: list, num_shots: int, repeat: bool) -> list:
        chosen = []
        for items in self.split_dataset_by_label(source).values():
            if len(items) >= num_shots:
                chosen += random.sample(items, num_shots)
            elif repeat:
                chosen += random.choices(items, k=num_shots)
            else:
                chosen += items
        return chosen

    def split_dataset_by_label(self, data_source: Iterable) -> dict[int, list]:
        """Return label -> items, labels in order of their first item."""
        return grouped(data_source, attrgetter("label"))

    def split_dataset_by_domain(self, data_source: Iterable) -> dict[int, list]:
        """Return domain -> items, domains in order of their first item."""
        return grouped(data_source, attrgetter("domain"))
