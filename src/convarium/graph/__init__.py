"""Work on any module from outside: look, measure and differentiate without leaving a trace."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
