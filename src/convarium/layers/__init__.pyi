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
from .conv import ConvBlock as ConvBlock
from .conv import ConvNormAct as ConvNormAct
from .conv import Padding as Padding
from .conv import make_conv as make_conv
from .drop_path import DropPath as DropPath
from .drop_path import drop_path_rates as drop_path_rates
from .initial import InitialTable as InitialTable
from .initial import handing_on as handing_on
from .initial import he_normal as he_normal
from .initial import initialise as initialise
from .initial import small_normal as small_normal
from .initial import uniform_fan_in as uniform_fan_in
from .initial import unit as unit
from .inverted import InvertedResidual as InvertedResidual
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
from .windows import Table as Table
from .windows import Windows as Windows
from .windows import mean_vectors as mean_vectors

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
    "ConvBlock",
    "ConvNormAct",
    "DropPath",
    "EveryStep",
    "InitialTable",
    "InvertedResidual",
    "LastStep",
    "LayerScale",
    "MaskedBatchNorm1d",
    "MaskedBlocks",
    "MaskedMaxPool1d",
    "MeanOverTime",
    "Norm",
    "PadShortcut",
    "Padding",
    "Pool",
    "PreActBasicBlock",
    "PreActBottleneckBlock",
    "SequenceConv",
    "SequenceShortcut",
    "Shortcut",
    "SqueezeExcitation",
    "Table",
    "TorchLayers",
    "Windows",
    "block_step",
    "coarser",
    "drop_path_rates",
    "global_average",
    "handing_on",
    "he_normal",
    "hidden",
    "initialise",
    "make_activation",
    "make_conv",
    "make_norm",
    "make_pool",
    "materialise_weights",
    "mean_vectors",
    "recomputed",
    "same_padding",
    "small_normal",
    "torch_layers",
    "uniform_fan_in",
    "unit",
]
