from .records import Call as Call
from .records import Graph as Graph
from .records import Operation as Operation
from .records import Value as Value
from .state import untouched as untouched
from .timing import Timing as Timing
from .timing import paired_timing as paired_timing
from .tracing import trace as trace
from .wrappers import eager as eager
from .wrappers import unwrapped as unwrapped

__all__ = [
    "Call",
    "Graph",
    "Operation",
    "Timing",
    "Value",
    "eager",
    "paired_timing",
    "trace",
    "untouched",
    "unwrapped",
]
