from .calibrating import fit_temperature as fit_temperature
from .downscaling import Downscaled as Downscaled
from .downscaling import downscale as downscale
from .downscaling import fine_values as fine_values
from .fine_datasets import fine_dataset as fine_dataset
from .judged_draws import evaluated_draws as evaluated_draws
from .neighbours import Neighbours as Neighbours
from .neighbours import build_index as build_index
from .neighbours import index_recall as index_recall
from .neighbours import nearest as nearest
from .predictor import Predictor as Predictor
from .quality import VectorQuality as VectorQuality
from .quality import vector_quality as vector_quality
from .real_fields import field_samples as field_samples
from .run import Run as Run
from .run import open_run as open_run
from .run import record_baselines as record_baselines
from .run import record_result as record_result
from .run import write_predictions as write_predictions
from .shards import write_records as write_records
from .shards import write_shards as write_shards
from .tables import check_table_name as check_table_name
from .tables import write_table as write_table
from .tiles import Tiling as Tiling
from .vectors import check_vectors_name as check_vectors_name
from .vectors import read_vectors as read_vectors
from .vectors import write_vectors as write_vectors

__all__ = [
    "Downscaled",
    "Neighbours",
    "Predictor",
    "Run",
    "Tiling",
    "VectorQuality",
    "build_index",
    "check_table_name",
    "check_vectors_name",
    "downscale",
    "evaluated_draws",
    "field_samples",
    "fine_dataset",
    "fine_values",
    "fit_temperature",
    "index_recall",
    "nearest",
    "open_run",
    "read_vectors",
    "record_baselines",
    "record_result",
    "vector_quality",
    "write_predictions",
    "write_records",
    "write_shards",
    "write_table",
    "write_vectors",
]
