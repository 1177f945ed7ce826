from .attribution import Attribution as Attribution
from .auditing.auditor import Audit as Audit
from .auditing.auditor import audit as audit
from .cam import finer_cam as finer_cam
from .cam import grad_cam as grad_cam
from .cam import grad_cam_plus_plus as grad_cam_plus_plus
from .cam import hires_cam as hires_cam
from .cam import layer_cam as layer_cam
from .cam import xgrad_cam as xgrad_cam
from .controls import Comparison as Comparison
from .controls import SampleMean as SampleMean
from .debiasing import Road as Road
from .debiasing import road as road
from .drops import AverageDrop as AverageDrop
from .drops import average_drop as average_drop
from .eigen import eigen_cam as eigen_cam
from .exciting import Excitement as Excitement
from .exciting import ExcitingInput as ExcitingInput
from .exciting import exciting_inputs as exciting_inputs
from .fusing import fuse as fuse
from .inputs import guided_backpropagation as guided_backpropagation
from .inputs import input_gradients as input_gradients
from .inputs import integrated_gradients as integrated_gradients
from .inputs import occlusion as occlusion
from .inputs import smooth_grad as smooth_grad
from .permuted_fields import FieldImportance as FieldImportance
from .permuted_fields import field_importance as field_importance
from .perturbed import ablation_cam as ablation_cam
from .perturbed import score_cam as score_cam
from .pointing import Energy as Energy
from .pointing import PointingGame as PointingGame
from .pointing import energy as energy
from .pointing import pointing_game as pointing_game
from .removal import RemovalCurve as RemovalCurve
from .removal import deletion as deletion
from .removal import insertion as insertion
from .sanity import SanityCheck as SanityCheck
from .sanity import sanity_check as sanity_check
from .views import FeatureMaps as FeatureMaps
from .views import Filters as Filters
from .views import feature_maps as feature_maps
from .views import filters as filters

__all__ = [
    "Attribution",
    "Audit",
    "AverageDrop",
    "Comparison",
    "Energy",
    "Excitement",
    "ExcitingInput",
    "FeatureMaps",
    "FieldImportance",
    "Filters",
    "PointingGame",
    "RemovalCurve",
    "Road",
    "SampleMean",
    "SanityCheck",
    "ablation_cam",
    "audit",
    "average_drop",
    "deletion",
    "eigen_cam",
    "energy",
    "exciting_inputs",
    "feature_maps",
    "field_importance",
    "filters",
    "finer_cam",
    "fuse",
    "grad_cam",
    "grad_cam_plus_plus",
    "guided_backpropagation",
    "hires_cam",
    "input_gradients",
    "insertion",
    "integrated_gradients",
    "layer_cam",
    "occlusion",
    "pointing_game",
    "road",
    "sanity_check",
    "score_cam",
    "smooth_grad",
    "xgrad_cam",
]
