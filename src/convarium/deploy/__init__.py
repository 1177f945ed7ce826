"""Deploy: files for other runtimes, each proven equal to its model before it is written."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
