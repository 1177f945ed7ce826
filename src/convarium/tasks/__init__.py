"""Tasks: what a network is trained for, one file a task; no other room asks which task it is."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
