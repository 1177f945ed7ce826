"""Networks: one family a file, their contract, their variants by name, their checkpoint folder."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
