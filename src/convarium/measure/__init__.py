"""Measure: what a network sees, costs and preserves, exactly, for any torch module."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
