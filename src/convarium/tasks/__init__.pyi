from .calibration import Calibration as Calibration
from .class_results import ClassEvaluation as ClassEvaluation
from .class_results import ClassRecord as ClassRecord
from .class_results import ClassRow as ClassRow
from .class_scores import ClassScores as ClassScores
from .classification import Classification as Classification
from .contract import Evaluation as Evaluation
from .contract import Meter as Meter
from .contract import Record as Record
from .contract import Task as Task
from .downscaling import Downscaling as Downscaling
from .downscaling_results import FieldEvaluation as FieldEvaluation
from .field_baselines import baseline_fields as baseline_fields
from .field_comparing import beside_baselines as beside_baselines
from .field_distributions import crps_members as crps_members
from .field_distributions import crps_normal as crps_normal
from .field_distributions import crps_quantiles as crps_quantiles
from .field_distributions import rank_histogram as rank_histogram
from .field_ensembles import together as together
from .field_groups import band_groups as band_groups
from .field_groups import season_groups as season_groups
from .field_losses import field_loss as field_loss
from .field_losses import soft_penalty as soft_penalty
from .field_records import FieldRecord as FieldRecord
from .field_results import FieldComparison as FieldComparison
from .field_rows import FieldRow as FieldRow
from .field_scores import return_values as return_values
from .field_spectra import radial_spectrum as radial_spectrum
from .forecast import Forecast as Forecast
from .forecast import ForecastEvaluation as ForecastEvaluation
from .label_results import LabelEvaluation as LabelEvaluation
from .label_results import LabelRecord as LabelRecord
from .label_results import LabelRow as LabelRow
from .multilabel import Multilabel as Multilabel
from .objective import Objective as Objective
from .objective import balanced_labels as balanced_labels
from .objective import balanced_weights as balanced_weights
from .registry import from_card as from_card
from .regression import Regression as Regression
from .scores import Bin as Bin
from .value_results import ValueEvaluation as ValueEvaluation
from .value_results import ValueRecord as ValueRecord
from .value_results import ValueRow as ValueRow

__all__ = [
    "Bin",
    "Calibration",
    "ClassEvaluation",
    "ClassRecord",
    "ClassRow",
    "ClassScores",
    "Classification",
    "Downscaling",
    "Evaluation",
    "FieldComparison",
    "FieldEvaluation",
    "FieldRecord",
    "FieldRow",
    "Forecast",
    "ForecastEvaluation",
    "LabelEvaluation",
    "LabelRecord",
    "LabelRow",
    "Meter",
    "Multilabel",
    "Objective",
    "Record",
    "Regression",
    "Task",
    "ValueEvaluation",
    "ValueRecord",
    "ValueRow",
    "balanced_labels",
    "balanced_weights",
    "band_groups",
    "baseline_fields",
    "beside_baselines",
    "crps_members",
    "crps_normal",
    "crps_quantiles",
    "field_loss",
    "from_card",
    "radial_spectrum",
    "rank_histogram",
    "return_values",
    "season_groups",
    "soft_penalty",
    "together",
]
