"""Every drawing of the library: curves, matrices, heatmaps, and the page that holds them."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
