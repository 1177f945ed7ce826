from .batch_finder import LargestBatch as LargestBatch
from .batch_finder import largest_batch as largest_batch
from .budget import Plan as Plan
from .budget import plan_budget as plan_budget
from .config import TrainConfig as TrainConfig
from .fold_results import CrossValidation as CrossValidation
from .fold_results import FoldResult as FoldResult
from .fold_results import cross_validation as cross_validation
from .history import History as History
from .lightning_adapter import lightning_module as lightning_module
from .loop import fit as fit
from .named import RECIPES as RECIPES
from .named import Recipe as Recipe
from .observers import Observer as Observer
from .observers import ProgressLines as ProgressLines
from .probing import Probe as Probe
from .probing import probe as probe
from .rate_finder import RateSweep as RateSweep
from .rate_finder import find_learning_rate as find_learning_rate
from .recipes import Choice as Choice
from .recipes import recommend as recommend
from .settings import read_preprocessing as read_preprocessing
from .settings import read_settings as read_settings
from .storage import refuse_existing as refuse_existing
from .trackers import Tracker as Tracker

__all__ = [
    "RECIPES",
    "Choice",
    "CrossValidation",
    "FoldResult",
    "History",
    "LargestBatch",
    "Observer",
    "Plan",
    "Probe",
    "ProgressLines",
    "RateSweep",
    "Recipe",
    "Tracker",
    "TrainConfig",
    "cross_validation",
    "find_learning_rate",
    "fit",
    "largest_batch",
    "lightning_module",
    "plan_budget",
    "probe",
    "read_preprocessing",
    "read_settings",
    "recommend",
    "refuse_existing",
]
