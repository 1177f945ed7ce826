from .config import TrainConfig as TrainConfig
from .history import History as History
from .loop import fit as fit
from .observers import Observer as Observer
from .observers import ProgressLines as ProgressLines
from .recipes import Choice as Choice
from .recipes import recommend as recommend
from .settings import read_preprocessing as read_preprocessing
from .settings import read_settings as read_settings
from .storage import refuse_existing as refuse_existing

__all__ = [
    "Choice",
    "History",
    "Observer",
    "ProgressLines",
    "TrainConfig",
    "fit",
    "read_preprocessing",
    "read_settings",
    "recommend",
    "refuse_existing",
]
