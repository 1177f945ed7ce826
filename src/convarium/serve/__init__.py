"""Serving: runs behind HTTP, with limits, batches, and new versions that lose no request."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
