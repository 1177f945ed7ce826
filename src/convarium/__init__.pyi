from . import data as data
from . import deploy as deploy
from . import errors as errors
from . import explain as explain
from . import graph as graph
from . import layers as layers
from . import measure as measure
from . import models as models
from . import predict as predict
from . import processes as processes
from . import report as report
from . import serve as serve
from . import studio as studio
from . import tasks as tasks
from . import train as train
from .models import create as create
from .models import list_models as list_models
from .models import load as load
from .models import register as register
from .models import save as save
from .predict import open_run as open_run
from .report.notebooks import load_ipython_extension as load_ipython_extension
from .report.notebooks import unload_ipython_extension as unload_ipython_extension

__version__: str
__all__ = [
    "create",
    "data",
    "deploy",
    "errors",
    "explain",
    "graph",
    "layers",
    "list_models",
    "load",
    "load_ipython_extension",
    "measure",
    "models",
    "open_run",
    "predict",
    "processes",
    "register",
    "report",
    "save",
    "serve",
    "studio",
    "tasks",
    "train",
    "unload_ipython_extension",
]
