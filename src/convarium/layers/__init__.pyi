from .activations import Activation as Activation
from .activations import make_activation as make_activation
from .blocks import Blocks as Blocks
from .conv import ConvBlock as ConvBlock
from .conv import make_conv as make_conv
from .initial import InitialTable as InitialTable
from .initial import he_normal as he_normal
from .initial import initialise as initialise
from .initial import uniform_fan_in as uniform_fan_in
from .initial import unit as unit
from .norms import ChannelNorm as ChannelNorm
from .norms import Norm as Norm
from .norms import make_norm as make_norm
from .pools import Pool as Pool
from .pools import global_average as global_average
from .pools import make_pool as make_pool
from .rank import CONVOLUTIONS as CONVOLUTIONS
from .rank import NORMS as NORMS
from .rank import TorchLayers as TorchLayers
from .rank import torch_layers as torch_layers
from .residual import BasicBlock as BasicBlock
from .residual import BottleneckBlock as BottleneckBlock
from .residual import PadShortcut as PadShortcut
from .residual import PreActBasicBlock as PreActBasicBlock
from .residual import PreActBottleneckBlock as PreActBottleneckBlock
from .residual import Shortcut as Shortcut

__all__ = [
    "CONVOLUTIONS",
    "NORMS",
    "Activation",
    "BasicBlock",
    "Blocks",
    "BottleneckBlock",
    "ChannelNorm",
    "ConvBlock",
    "InitialTable",
    "Norm",
    "PadShortcut",
    "Pool",
    "PreActBasicBlock",
    "PreActBottleneckBlock",
    "Shortcut",
    "TorchLayers",
    "global_average",
    "he_normal",
    "initialise",
    "make_activation",
    "make_conv",
    "make_norm",
    "make_pool",
    "torch_layers",
    "uniform_fan_in",
    "unit",
]
