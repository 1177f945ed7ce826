from .activations import Activation as Activation
from .activations import make_activation as make_activation
from .blocks import Blocks as Blocks
from .blocks import recomputed as recomputed
from .blur import BlurPool as BlurPool
from .causal import BlockTaps as BlockTaps
from .causal import CausalBlock as CausalBlock
from .causal import CausalConv1d as CausalConv1d
from .causal import CausalNorm as CausalNorm
from .causal import block_step as block_step
from .causal import materialise_weights as materialise_weights
from .causal import with_plain_weights as with_plain_weights
from .constraints import Constraint as Constraint
from .constraints import ConstraintKind as ConstraintKind
from .constraints import block_mean as block_mean
from .constraints import conservation_penalty as conservation_penalty
from .constraints import in_blocks as in_blocks
from .conv import ConvBlock as ConvBlock
from .conv import ConvNormAct as ConvNormAct
from .conv import Padding as Padding
from .conv import make_conv as make_conv
from .drop_path import DropPath as DropPath
from .drop_path import drop_path_rates as drop_path_rates
from .initial import InitialTable as InitialTable
from .initial import handing_on as handing_on
from .initial import he_normal as he_normal
from .initial import he_normal_fan_in as he_normal_fan_in
from .initial import initialise as initialise
from .initial import small_normal as small_normal
from .initial import tiny_normal as tiny_normal
from .initial import uniform_fan_in as uniform_fan_in
from .initial import unit as unit
from .inverted import InvertedResidual as InvertedResidual
from .level import Level as Level
from .local import LocalLinear as LocalLinear
from .masked_norm import MaskedBatchNorm1d as MaskedBatchNorm1d
from .masks import EveryStep as EveryStep
from .masks import LastStep as LastStep
from .masks import MaskedBlocks as MaskedBlocks
from .masks import MaskedMaxPool1d as MaskedMaxPool1d
from .masks import MeanOverTime as MeanOverTime
from .masks import coarser as coarser
from .masks import hidden as hidden
from .norms import ChannelNorm as ChannelNorm
from .norms import Norm as Norm
from .norms import make_norm as make_norm
from .pools import Pool as Pool
from .pools import global_average as global_average
from .pools import make_pool as make_pool
from .preactivation import PreActBasicBlock as PreActBasicBlock
from .preactivation import PreActBottleneckBlock as PreActBottleneckBlock
from .rank import CONVOLUTIONS as CONVOLUTIONS
from .rank import NORMS as NORMS
from .rank import TorchLayers as TorchLayers
from .rank import torch_layers as torch_layers
from .residual import BasicBlock as BasicBlock
from .residual import BottleneckBlock as BottleneckBlock
from .residual import PadShortcut as PadShortcut
from .residual import Shortcut as Shortcut
from .same import same_padding as same_padding
from .scaling import LayerScale as LayerScale
from .scaling import SqueezeExcitation as SqueezeExcitation
from .sequences import SequenceConv as SequenceConv
from .sequences import SequenceShortcut as SequenceShortcut
from .upsampling import InterpolationKind as InterpolationKind
from .upsampling import PixelShuffle as PixelShuffle
from .upsampling import PixelUnshuffle as PixelUnshuffle
from .upsampling import Upsampling as Upsampling
from .upsampling import UpsamplingKind as UpsamplingKind
from .upsampling import interpolate as interpolate
from .upsampling import upsampling_steps as upsampling_steps
from .windows import Table as Table
from .windows import Windows as Windows
from .windows import mean_vectors as mean_vectors
from .wrapping import field_conv as field_conv

__all__ = [
    "CONVOLUTIONS",
    "NORMS",
    "Activation",
    "BasicBlock",
    "BlockTaps",
    "Blocks",
    "BlurPool",
    "BottleneckBlock",
    "CausalBlock",
    "CausalConv1d",
    "CausalNorm",
    "ChannelNorm",
    "Constraint",
    "ConstraintKind",
    "ConvBlock",
    "ConvNormAct",
    "DropPath",
    "EveryStep",
    "InitialTable",
    "InterpolationKind",
    "InvertedResidual",
    "LastStep",
    "LayerScale",
    "Level",
    "LocalLinear",
    "MaskedBatchNorm1d",
    "MaskedBlocks",
    "MaskedMaxPool1d",
    "MeanOverTime",
    "Norm",
    "PadShortcut",
    "Padding",
    "PixelShuffle",
    "PixelUnshuffle",
    "Pool",
    "PreActBasicBlock",
    "PreActBottleneckBlock",
    "SequenceConv",
    "SequenceShortcut",
    "Shortcut",
    "SqueezeExcitation",
    "Table",
    "TorchLayers",
    "Upsampling",
    "UpsamplingKind",
    "Windows",
    "block_mean",
    "block_step",
    "coarser",
    "conservation_penalty",
    "drop_path_rates",
    "field_conv",
    "global_average",
    "handing_on",
    "he_normal",
    "he_normal_fan_in",
    "hidden",
    "in_blocks",
    "initialise",
    "interpolate",
    "make_activation",
    "make_conv",
    "make_norm",
    "make_pool",
    "materialise_weights",
    "mean_vectors",
    "recomputed",
    "same_padding",
    "small_normal",
    "tiny_normal",
    "torch_layers",
    "uniform_fan_in",
    "unit",
    "upsampling_steps",
    "with_plain_weights",
]
