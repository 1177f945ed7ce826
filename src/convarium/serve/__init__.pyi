from .access import check_bind as check_bind
from .access import read_token as read_token
from .app import build_app as build_app
from .journal import Journal as Journal
from .limits import Limits as Limits
from .server import run_server as run_server
from .service import Service as Service

__all__ = [
    "Journal",
    "Limits",
    "Service",
    "build_app",
    "check_bind",
    "read_token",
    "run_server",
]
