"""The templates of the pages, and how they are filled and written."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convarium import files
from convarium.report import palette, pictures, wording

if TYPE_CHECKING:
    from jinja2 import Environment


def write_filled(path: str | Path, template: str, **values: Any) -> Path:
    """Write a template with its values as a file, atomically."""
    files.write_text(path, environment().get_template(template).render(**values))
    return Path(path)


def environment() -> Environment:
    """Templates of this room; every value is cleaned and escaped unless it is our own markup."""
    import jinja2

    def source(name: str) -> str:
        return resources.files(__package__).joinpath(name).read_text("utf-8")

    def finished(value: Any) -> Any:
        return wording.clean(value) if type(value) is str else value

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finished,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": wording.percent,
        "number": wording.number,
        "count": wording.count,
        "shorten": wording.shorten,
    }
    made.globals |= {
        "palette": palette.variables(":root"),
        "font": palette.FONT,
        "heat_scale": _heat_scale(),
    }
    return made


def _heat_scale() -> str:
    """The heatmap's colours as a CSS gradient."""
    stops = pictures.heat_colours(np.linspace(0, 1, 17, dtype=np.float32))
    colours = ["#" + "".join(f"{round(255 * part):02x}" for part in stop) for stop in stops]
    return f"linear-gradient(to right,{','.join(colours)})"
