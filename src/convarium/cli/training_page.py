"""The page of `convarium data DATA --show`: samples as training would see them."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.parsing import refuse_idle, write, write_json
from convarium.cli.reading import given_series, given_tokens
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, TextAugmentation, TextPreprocessing
    from convarium.train import Choice, TrainConfig

SAMPLES, VERSIONS = 8, 5  # rows of the page, and epochs beside each original


def show(arguments: argparse.Namespace, dataset: Dataset, changes: dict[str, Any]) -> int:
    """Draw the page.

    Args:
        arguments: of the command.
        dataset: was surveyed.
        changes: options of the augmentation that were given.
    """
    from convarium import report, train

    path = _page_name(arguments, dataset)
    report.check_page_name(path)
    grid = {"size": arguments.size, "spacing": arguments.spacing}
    choice = train.recommend(dataset, **grid, recipe=arguments.recipe)
    config = dataclasses.replace(choice.config, **changes)
    refuse_idle(changes, config)
    how = {
        "seed": arguments.seed or 0,
        "epoch": arguments.epoch or 0,
        "samples": arguments.samples or SAMPLES,
        "versions": arguments.versions or VERSIONS,
    }
    draw = _texts if dataset.kind == "texts" else _drawn
    samples, settings = draw(path, arguments, dataset, choice, config, how)
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


def _drawn(
    path: str,
    arguments: argparse.Namespace,
    dataset: Dataset,
    choice: Choice,
    config: TrainConfig,
    how: dict[str, int],
) -> tuple[list[tuple[str, str]], list[str]]:
    """Images, volumes and series as pictures; who is shown, and what is done to them."""
    from convarium import report
    from convarium.report.trained_on import seen_in_training

    of_images: dict[str, Any] = {"size": choice.size, "spacing": arguments.spacing}
    own = _prepared(arguments, dataset, choice, how["seed"])
    found = seen_in_training(dataset, config, **(own or of_images), **how)
    title = f"{dataset.source}: what training sees"
    report.write_augmented(path, found.samples, found.settings, title=title, epoch=how["epoch"])
    return [(sample.name, sample.label) for sample in found.samples], [*found.settings]


def _texts(
    path: str,
    arguments: argparse.Namespace,
    dataset: Dataset,
    choice: Choice,
    config: TrainConfig,
    how: dict[str, int],
) -> tuple[list[tuple[str, str]], list[str]]:
    """Texts with the words that become unknown."""
    from convarium.report import some_of_each_class
    from convarium.report.dropped_words import dropped_words, write_dropped
    from convarium.train.from_config import changes_of

    own = _prepared(arguments, dataset, choice, how["seed"])
    steps = cast("TextPreprocessing", own["preprocessing"])
    augmentation = cast("TextAugmentation", changes_of(config, steps))
    ids = some_of_each_class(dataset, own["ids"], how.pop("samples"), how["seed"])
    texts = dropped_words(dataset, ids, steps, augmentation, **how)
    title, settings = f"{dataset.source}: what training sees", augmentation.lines()
    write_dropped(path, texts, settings, title=title, epoch=how["epoch"])
    return [(text.name, text.label) for text in texts], settings


def _prepared(
    arguments: argparse.Namespace, dataset: Dataset, choice: Choice, seed: int
) -> dict[str, Any]:
    """Of texts and series the training part, and what is fitted to it; of others nothing."""
    from convarium import data
    from convarium.data.kinds import check_settings

    said = {"tokens": given_tokens(arguments), "series": given_series(arguments)}
    said = check_settings(dataset.kind, said)
    if dataset.kind not in ("texts", "series"):
        return {}
    shares = {"validation": choice.validation, "test": choice.test}
    part = data.split(dataset, **shares, seed=seed).train
    return {"preprocessing": data.fit_preprocessing(part, **said), "ids": part.ids}
