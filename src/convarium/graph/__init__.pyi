from .state import untouched as untouched
from .wrappers import eager as eager
from .wrappers import unwrapped as unwrapped

__all__ = ["eager", "untouched", "unwrapped"]
