from .calibrating import fit_temperature as fit_temperature
from .predictor import Predictor as Predictor
from .run import Run as Run
from .run import open_run as open_run
from .run import record_baselines as record_baselines
from .run import record_result as record_result
from .run import write_predictions as write_predictions
from .tables import check_table_name as check_table_name
from .tables import write_table as write_table
from .vectors import check_vectors_name as check_vectors_name
from .vectors import write_vectors as write_vectors

__all__ = [
    "Predictor",
    "Run",
    "check_table_name",
    "check_vectors_name",
    "fit_temperature",
    "open_run",
    "record_baselines",
    "record_result",
    "write_predictions",
    "write_table",
    "write_vectors",
]
