from .checkpoint import load as load
from .checkpoint import read_card as read_card
from .checkpoint import save as save
from .contract import Classifier as Classifier
from .contract import Network as Network
from .contract import Stage as Stage
from .inputs import SmallMapWarning as SmallMapWarning
from .inputs import check_input as check_input
from .registry import create as create
from .registry import list_models as list_models
from .registry import register as register
from .variants import Variant as Variant

__all__ = [
    "Classifier",
    "Network",
    "SmallMapWarning",
    "Stage",
    "Variant",
    "check_input",
    "create",
    "list_models",
    "load",
    "read_card",
    "register",
    "save",
]
