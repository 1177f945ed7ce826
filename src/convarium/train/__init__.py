"""Training: a loop that resumes bit for bit, and the choices that a data set leads to."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
