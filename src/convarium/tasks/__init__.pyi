from .classification import ClassEvaluation as ClassEvaluation
from .classification import Classification as Classification
from .classification import ClassRecord as ClassRecord
from .classification import ClassRow as ClassRow
from .contract import Evaluation as Evaluation
from .contract import Meter as Meter
from .contract import Record as Record
from .contract import Task as Task
from .registry import from_card as from_card

__all__ = [
    "ClassEvaluation",
    "ClassRecord",
    "ClassRow",
    "Classification",
    "Evaluation",
    "Meter",
    "Record",
    "Task",
    "from_card",
]
