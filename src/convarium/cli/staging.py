"""`convarium train DATA --cache FOLDER`: whether the first reading of images fills the cache."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from convarium.cli.parsing import given_options
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import Dataset
    from convarium.data.staging import Staging


def staging_of(arguments: argparse.Namespace, dataset: Dataset) -> Staging | None:
    """Where pictures are put aside for the cache, if one has to be made and its size is known."""
    from convarium.data.staging import Staging, is_staged_before
    from convarium.train.caching import short_side_of

    given = given_options(arguments)
    recipe = RECIPES.get(given.get("recipe") or "")
    size = arguments.size or (None if recipe is None else recipe.size)
    folder, crops = given.get("cache"), given.get("resized_crop")
    if folder is None or not isinstance(size, int) or arguments.resume or dataset.in_memory:
        return None
    if crops is None and (recipe is None or "resized_crop" not in recipe.config_options(size)):
        return None
    side = short_side_of(size)
    return None if is_staged_before(folder, side, dataset.source) else Staging(folder, side)
