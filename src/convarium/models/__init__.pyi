from .checkpoint import load as load
from .checkpoint import read_card as read_card
from .checkpoint import save as save
from .contract import Classifier as Classifier
from .contract import Network as Network
from .contract import Stage as Stage
from .field_places import fit_places as fit_places
from .field_places import left_to_places as left_to_places
from .fields import FieldToField as FieldToField
from .hub import pull_from_hub as pull_from_hub
from .hub import push_to_hub as push_to_hub
from .inputs import SmallMapWarning as SmallMapWarning
from .inputs import check_input as check_input
from .interpolator import Interpolator as Interpolator
from .layouts import Layout as Layout
from .published import KeyReport as KeyReport
from .published import load_published as load_published
from .registry import create as create
from .registry import list_models as list_models
from .registry import register as register
from .variants import Variant as Variant
from .weights import Weights as Weights

__all__ = [
    "Classifier",
    "FieldToField",
    "Interpolator",
    "KeyReport",
    "Layout",
    "Network",
    "SmallMapWarning",
    "Stage",
    "Variant",
    "Weights",
    "check_input",
    "create",
    "fit_places",
    "left_to_places",
    "list_models",
    "load",
    "load_published",
    "pull_from_hub",
    "push_to_hub",
    "read_card",
    "register",
    "save",
]
