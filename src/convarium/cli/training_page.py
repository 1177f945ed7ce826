"""The page of `convarium data DATA --show`: samples as training would see them."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.parsing import refuse_idle, write, write_json
from convarium.cli.reading import given_series, given_tokens
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, TextAugmentation, TextPreprocessing
    from convarium.train import Choice, TrainConfig

SAMPLES, VERSIONS = 8, 5  # rows of the page, and epochs beside each original
Shown = tuple[list[tuple[str, str]], list[str]]  # names with labels, and what is done, in words


@dataclass(frozen=True, eq=False)
class _Page:
    """What is to be drawn, and how: seed, first epoch, samples and versions."""

    path: str
    arguments: argparse.Namespace
    dataset: Dataset
    choice: Choice
    config: TrainConfig
    how: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The heading."""
        return f"{self.dataset.source}: what training sees"


def show(arguments: argparse.Namespace, dataset: Dataset, changes: dict[str, Any]) -> int:
    """Draw the page.

    Args:
        arguments: of the command.
        dataset: was surveyed.
        changes: options of the augmentation that were given.
    """
    from convarium import report, train
    from convarium.train.from_config import refuse_foreign

    path = _page_name(arguments, dataset)
    report.check_page_name(path)
    grid = {"size": arguments.size, "spacing": arguments.spacing}
    choice = train.recommend(dataset, **grid, recipe=arguments.recipe)
    config = dataclasses.replace(choice.config, **changes)
    refuse_idle(changes, config)
    refuse_foreign(config, dataset.kind)
    how = {
        "seed": arguments.seed or 0,
        "epoch": arguments.epoch or 0,
        "samples": arguments.samples or SAMPLES,
        "versions": arguments.versions or VERSIONS,
    }
    page = _Page(path, arguments, dataset, choice, config, how)
    samples, settings = _texts(page) if dataset.kind == "texts" else _drawn(page)
    if arguments.json:
        shown = [{"name": name, "label": label} for name, label in samples]
        write_json({"page": path, "augmentation": settings, "samples": shown})
        return 0
    write(f"augmentation: {'; '.join(settings) or 'none'}")
    write(f"page: {path}")
    return 0


def _page_name(arguments: argparse.Namespace, dataset: Dataset) -> str:
    """As it is given; of texts it ends in .html."""
    path = "samples.html" if arguments.output is None else str(arguments.output)
    if dataset.kind == "texts" and not path.lower().endswith(".html"):
        raise OptionError(
            f"The page's name (={path!r}) must end in .html, since texts are no picture."
        )
    return path


def _drawn(page: _Page) -> Shown:
    """Images, volumes and series as pictures."""
    from convarium import report
    from convarium.report.trained_on import seen_in_training

    of_images: dict[str, Any] = {"size": page.choice.size, "spacing": page.arguments.spacing}
    own = _prepared(page) or of_images
    found = seen_in_training(page.dataset, page.config, **own, **page.how)
    epoch = page.how["epoch"]
    report.write_augmented(page.path, found.samples, found.settings, title=page.title, epoch=epoch)
    return [(sample.name, sample.label) for sample in found.samples], [*found.settings]


def _texts(page: _Page) -> Shown:
    """Texts with the words that become unknown."""
    from convarium.report import some_of_each_class
    from convarium.report.dropped_words import dropped_words, write_dropped
    from convarium.train.from_config import changes_of

    own, how = _prepared(page), dict(page.how)
    steps = cast("TextPreprocessing", own["preprocessing"])
    augmentation = cast("TextAugmentation", changes_of(page.config, steps))
    ids = some_of_each_class(page.dataset, own["ids"], how.pop("samples"), how["seed"])
    texts = dropped_words(page.dataset, ids, steps, augmentation, **how)
    settings = augmentation.lines()
    write_dropped(page.path, texts, settings, title=page.title, epoch=how["epoch"])
    return [(text.name, text.label) for text in texts], settings


def _prepared(page: _Page) -> dict[str, Any]:
    """Of texts and series the training part, and what is fitted to it; of others nothing."""
    from convarium import data
    from convarium.data.kinds import check_settings

    dataset, choice = page.dataset, page.choice
    given = {"tokens": given_tokens(page.arguments), "series": given_series(page.arguments)}
    said = check_settings(dataset.kind, given)
    if dataset.kind not in ("texts", "series"):
        return {}
    seed = page.how["seed"]
    parts = data.split(dataset, validation=choice.validation, test=choice.test, seed=seed)
    part = parts.train
    return {"preprocessing": data.fit_preprocessing(part, **said), "ids": part.ids}
