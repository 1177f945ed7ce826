"""The studio: what the other rooms compute, in a browser of this machine."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
