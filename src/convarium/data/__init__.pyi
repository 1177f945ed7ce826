from .augment.fields import FieldAugmentation as FieldAugmentation
from .augment.series import SeriesAugmentation as SeriesAugmentation
from .augment.texts import TextAugmentation as TextAugmentation
from .augment.volumes import VolumeAugmentation as VolumeAugmentation
from .augmentation import Augmentation as Augmentation
from .batch import Batch as Batch
from .batch import Mix as Mix
from .batching import batches as batches
from .batching import steps_per_epoch as steps_per_epoch
from .batching import training_batches as training_batches
from .card import build_card as build_card
from .columns import column_words as column_words
from .contents import Overview as Overview
from .contents import overview as overview
from .contents import target_in_words as target_in_words
from .crossing import Lookalikes as Lookalikes
from .crossing import lookalikes as lookalikes
from .dataset import Dataset as Dataset
from .dataset import Part as Part
from .dataset import Survey as Survey
from .decode import read_image as read_image
from .decode import read_mask as read_mask
from .fitting import fit_preprocessing as fit_preprocessing
from .folds import split_folds as split_folds
from .grids.climatology import Climatology as Climatology
from .grids.climatology import fit_climatology as fit_climatology
from .grids.coarsening import coarsen as coarsen
from .grids.dividing import TimeParts as TimeParts
from .grids.dividing import split_times as split_times
from .grids.fields import Fields as Fields
from .grids.fields import fields_of_arrays as fields_of_arrays
from .grids.grid import Grid as Grid
from .grids.opening import open_fields as open_fields
from .grids.options import FieldOptions as FieldOptions
from .grids.options import GridOptions as GridOptions
from .grids.pairs import FieldBatch as FieldBatch
from .grids.pairs import FieldPairs as FieldPairs
from .grids.pairs import model_pairs as model_pairs
from .grids.pairs import perfect_pairs as perfect_pairs
from .grids.static import static_fields as static_fields
from .grids.steps import FieldPreprocessing as FieldPreprocessing
from .matching import match_classes as match_classes
from .opening import open_dataset as open_dataset
from .opening import open_inputs as open_inputs
from .packing import packed as packed
from .parts import Parts as Parts
from .parts import given_parts as given_parts
from .parts import split as split
from .preprocessing import Preprocessing as Preprocessing
from .reducing import reduced as reduced
from .series.series import Series as Series
from .series.steps import SeriesOptions as SeriesOptions
from .series.steps import SeriesPreprocessing as SeriesPreprocessing
from .shards.stream import ShardStream as ShardStream
from .shards.stream import open_stream as open_stream
from .shards.streamed_parts import split_stream as split_stream
from .skipping import Skipped as Skipped
from .texts.steps import TextPreprocessing as TextPreprocessing
from .texts.tokens import TokenOptions as TokenOptions
from .volumes.fitting import volume_sizes as volume_sizes
from .volumes.reading import read_volume as read_volume
from .volumes.steps import VolumePreprocessing as VolumePreprocessing
from .volumes.volume import Volume as Volume

__all__ = [
    "Augmentation",
    "Batch",
    "Climatology",
    "Dataset",
    "FieldAugmentation",
    "FieldBatch",
    "FieldOptions",
    "FieldPairs",
    "FieldPreprocessing",
    "Fields",
    "Grid",
    "GridOptions",
    "Lookalikes",
    "Mix",
    "Overview",
    "Part",
    "Parts",
    "Preprocessing",
    "Series",
    "SeriesAugmentation",
    "SeriesOptions",
    "SeriesPreprocessing",
    "ShardStream",
    "Skipped",
    "Survey",
    "TextAugmentation",
    "TextPreprocessing",
    "TimeParts",
    "TokenOptions",
    "Volume",
    "VolumeAugmentation",
    "VolumePreprocessing",
    "batches",
    "build_card",
    "coarsen",
    "column_words",
    "fields_of_arrays",
    "fit_climatology",
    "fit_preprocessing",
    "given_parts",
    "lookalikes",
    "match_classes",
    "model_pairs",
    "open_dataset",
    "open_fields",
    "open_inputs",
    "open_stream",
    "overview",
    "packed",
    "perfect_pairs",
    "read_image",
    "read_mask",
    "read_volume",
    "reduced",
    "split",
    "split_folds",
    "split_stream",
    "split_times",
    "static_fields",
    "steps_per_epoch",
    "target_in_words",
    "training_batches",
    "volume_sizes",
]
