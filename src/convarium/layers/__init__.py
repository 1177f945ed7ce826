"""Bricks of networks: torch's own layers by rank, blocks, norms, pools, residual blocks."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
