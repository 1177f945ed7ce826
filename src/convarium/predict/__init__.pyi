from .calibrating import fit_temperature as fit_temperature
from .predictor import Predictor as Predictor
from .run import Run as Run
from .run import open_run as open_run
from .run import record_result as record_result
from .run import write_predictions as write_predictions
from .tables import check_table_name as check_table_name
from .tables import write_table as write_table

__all__ = [
    "Predictor",
    "Run",
    "check_table_name",
    "fit_temperature",
    "open_run",
    "record_result",
    "write_predictions",
    "write_table",
]
