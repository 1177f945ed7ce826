from .augment.series import SeriesAugmentation as SeriesAugmentation
from .augment.volumes import VolumeAugmentation as VolumeAugmentation
from .augmentation import Augmentation as Augmentation
from .batch import Batch as Batch
from .batch import Mix as Mix
from .batching import batches as batches
from .batching import steps_per_epoch as steps_per_epoch
from .batching import training_batches as training_batches
from .card import build_card as build_card
from .contents import Overview as Overview
from .contents import overview as overview
from .contents import target_in_words as target_in_words
from .dataset import Dataset as Dataset
from .dataset import Part as Part
from .dataset import Survey as Survey
from .dataset import match_classes as match_classes
from .decode import read_image as read_image
from .fitting import fit_preprocessing as fit_preprocessing
from .folds import split_folds as split_folds
from .opening import open_dataset as open_dataset
from .opening import open_inputs as open_inputs
from .packing import packed as packed
from .parts import Parts as Parts
from .parts import given_parts as given_parts
from .parts import split as split
from .preprocessing import Preprocessing as Preprocessing
from .skipping import Skipped as Skipped

__all__ = [
    "Augmentation",
    "Batch",
    "Dataset",
    "Mix",
    "Overview",
    "Part",
    "Parts",
    "Preprocessing",
    "SeriesAugmentation",
    "Skipped",
    "Survey",
    "VolumeAugmentation",
    "batches",
    "build_card",
    "fit_preprocessing",
    "given_parts",
    "match_classes",
    "open_dataset",
    "open_inputs",
    "overview",
    "packed",
    "read_image",
    "split",
    "split_folds",
    "steps_per_epoch",
    "target_in_words",
    "training_batches",
]
