from .class_results import ClassEvaluation as ClassEvaluation
from .class_results import ClassRecord as ClassRecord
from .class_results import ClassRow as ClassRow
from .classification import Classification as Classification
from .contract import Evaluation as Evaluation
from .contract import Meter as Meter
from .contract import Record as Record
from .contract import Task as Task
from .objective import Objective as Objective
from .registry import from_card as from_card

__all__ = [
    "ClassEvaluation",
    "ClassRecord",
    "ClassRow",
    "Classification",
    "Evaluation",
    "Meter",
    "Objective",
    "Record",
    "Task",
    "from_card",
]
