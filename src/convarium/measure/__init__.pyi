from .choice import choose as choose
from .chosen import Candidate as Candidate
from .chosen import Choices as Choices
from .chosen import pareto_front as pareto_front
from .commuting import Equivariance as Equivariance
from .commuting import LayerEquivariance as LayerEquivariance
from .commuting import equivariance as equivariance
from .consistency import ShiftConsistency as ShiftConsistency
from .consistency import shift_consistency as shift_consistency
from .costs import Cost as Cost
from .costs import LayerCost as LayerCost
from .costs import cost as cost
from .costs import output_shape as output_shape
from .effective import EffectiveField as EffectiveField
from .effective import effective_receptive_field as effective_receptive_field
from .families import FamilyRow as FamilyRow
from .families import compare_families as compare_families
from .field import Field as Field
from .field import ReceptiveField as ReceptiveField
from .field import receptive_field as receptive_field
from .flow import GradientFlow as GradientFlow
from .flow import LayerFlow as LayerFlow
from .flow import gradient_flow as gradient_flow
from .jacobian import JacobianSpectrum as JacobianSpectrum
from .jacobian import jacobian_singular_values as jacobian_singular_values
from .layer_table import LayerFacts as LayerFacts
from .layer_times import LayerTime as LayerTime
from .layer_times import Profile as Profile
from .layer_times import profile as profile
from .limits import Miss as Miss
from .operator import conv_matrix as conv_matrix
from .operator import convolve as convolve
from .operator import cross_correlate as cross_correlate
from .scaling import CompoundScaling as CompoundScaling
from .scaling import compound_scaling as compound_scaling
from .scaling import depthwise_cost_ratio as depthwise_cost_ratio
from .spectrum import operator_norm as operator_norm
from .spectrum import singular_values as singular_values
from .speed import BatchLatency as BatchLatency
from .speed import Latency as Latency
from .speed import latency as latency
from .temporal import layers_for_receptive_field as layers_for_receptive_field
from .temporal import temporal_receptive_field as temporal_receptive_field
from .theory import Design as Design
from .theory import bottleneck_against_plain as bottleneck_against_plain
from .theory import connection_cost as connection_cost
from .theory import separable_against_standard as separable_against_standard
from .theory import stack_against_kernel as stack_against_kernel

__all__ = [
    "BatchLatency",
    "Candidate",
    "Choices",
    "CompoundScaling",
    "Cost",
    "Design",
    "EffectiveField",
    "Equivariance",
    "FamilyRow",
    "Field",
    "GradientFlow",
    "JacobianSpectrum",
    "Latency",
    "LayerCost",
    "LayerEquivariance",
    "LayerFacts",
    "LayerFlow",
    "LayerTime",
    "Miss",
    "Profile",
    "ReceptiveField",
    "ShiftConsistency",
    "bottleneck_against_plain",
    "choose",
    "compare_families",
    "compound_scaling",
    "connection_cost",
    "conv_matrix",
    "convolve",
    "cost",
    "cross_correlate",
    "depthwise_cost_ratio",
    "effective_receptive_field",
    "equivariance",
    "gradient_flow",
    "jacobian_singular_values",
    "latency",
    "layers_for_receptive_field",
    "operator_norm",
    "output_shape",
    "pareto_front",
    "profile",
    "receptive_field",
    "separable_against_standard",
    "shift_consistency",
    "singular_values",
    "stack_against_kernel",
    "temporal_receptive_field",
]
