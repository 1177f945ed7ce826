from .app import build_app as build_app
from .desk import Desk as Desk

__all__ = [
    "Desk",
    "build_app",
]
