"""What `convarium train` says before it trains: the data, the network, how, and warnings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.choosing import Prepared
from convarium.cli.parsing import write
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import (
        FieldPreprocessing,
        Parts,
        Preprocessing,
        SeriesPreprocessing,
        TextPreprocessing,
    )
    from convarium.train.config import TrainConfig


def announce(ready: Prepared) -> None:
    """What will be trained, on what, and how."""
    from convarium.train.grouping import grouping_lines

    choice, parts, config = ready.choice, ready.parts, ready.config
    counts = ", ".join(f"{count} {name}" for name, count in parts.counts.items())
    said = {key: value for key, value in choice.options.items() if key != "spatial_dims"}
    own = "".join(f", {key}={value}" for key, value in said.items())
    write(f"data: {choice.reason}; {counts}; {len(parts.train.dataset.skipped)} skipped")
    if parts.train.dataset.corrections:
        write(f"corrections: {len(parts.train.dataset.corrections)} labels")
    if parts.crossing:
        write(f"warning: {parts.crossing} samples of the given parts have a copy in another part")
    for line in alike_lines(parts):
        write(line)
    shape = " x ".join(str(n) for n in ready.preprocessing.input_shape)
    write(f"network: {choice.model}{own}, input {shape}")
    seen = seen_lines(parts, ready.preprocessing)
    for line in [*seen, *_reach_lines(ready), *_vector_lines(ready)]:
        write(line)
    write(
        f"recipe: {f'{config.recipe}, ' if config.recipe else ''}{config.optimizer}, "
        f"{config.epochs} epochs, batch {config.batch_size}, "
        f"rate {config.learning_rate:.2g}, {', '.join(_besides(config))}"
    )
    members = ready.model.config.get("members", 1)
    if members > 1:
        write(
            f"members: {members} networks share the rows; where neither --batch-size nor --epochs "
            f"is given, both are {members} times those of one network"
        )
    write(f"changes: {_changes(config, ready.preprocessing)}")
    usual = RECIPES[config.recipe].options.get("batch_size", 0) if config.recipe else 0
    if config.batch_size < usual:
        write(f"note: batches of {config.batch_size} instead of the {usual} of {config.recipe}")
    for line in grouping_lines(ready.model, config):
        write(line)
    for line in _waiting_lines(ready):
        write(line)
    if ready.probe is not None:
        write(f"arithmetic: {ready.probe.sentence()}")
    if ready.plan is not None:
        write(f"budget: {ready.plan.sentence()}")
    if config.flip and all(len(name) == 1 for name in parts.train.classes):
        kind = ready.preprocessing.kind
        write(f"warning: half of the {kind} are mirrored; for digits and letters add --no-flip")
    if config.recipe and RECIPES[config.recipe].pretrained and ready.model.published is None:
        write(
            f"warning: the network starts from random weights, and {config.recipe} is for "
            "published ones; add --option pretrained=true"
        )


def _besides(config: TrainConfig) -> list[str]:
    """What else a recipe decides on, where it is not as usual, and the seed."""
    said = {
        f"{config.chosen_schedule.replace('_', ' ')} schedule": True,
        f"{config.loss} loss": config.loss != "auto",
        f"labels smoothed by {config.label_smoothing:g}": config.label_smoothing,
        f"rare ones balanced by {config.balance}": config.balance != "none",
        f"weights averaged with decay {config.ema}": config.ema,
        f"gradients clipped at {config.clip_norm}": config.clip_norm,
        f"inputs that grow from {config.start_size or 1:.0%} of their sides": config.start_size,
        f"seed {config.seed}": True,
    }
    return [words for words, value in said.items() if value]


def _changes(config: TrainConfig, preprocessing: Preprocessing) -> str:
    """What is changed at random."""
    from convarium.train.from_config import changes_of

    return "; ".join(changes_of(config, preprocessing).lines()) or "nothing at random"


def _waiting_lines(ready: Prepared) -> list[str]:
    """A note where a GPU may wait for few threads that decode files."""
    from convarium.train.from_config import device_named

    dataset, workers = ready.parts.train.dataset, ready.config.workers
    decoded = dataset.kind in ("images", "volumes") and not dataset.in_memory
    processors = os.cpu_count() or 1
    if not decoded or 2 * workers > processors or device_named(ready.config.device).type != "cuda":
        return []
    return [
        f"note: --workers is {workers} and there are {processors} processors; where the GPU waits "
        f"for {dataset.kind}, more of them decode more at once"
    ]


def _text_lines(parts: Parts, preprocessing: TextPreprocessing) -> list[str]:
    """What of the training texts the network sees."""
    from convarium.data.texts.fitting import cut_of

    cut = cut_of(parts.train, preprocessing)
    kept = max(1, cut.tokens - cut.lost)
    lines = [
        f"tokens: {len(preprocessing.tokens):,} known, {cut.unknown / kept:.1%} of the training "
        f"tokens unknown; {cut.median} a text (median), {cut.longest} at most"
    ]
    if cut.cut:
        lines.append(
            f"seen: {cut.cut:,} of {cut.texts:,} training texts are cut at "
            f"{preprocessing.longest} tokens, which loses {cut.lost / cut.tokens:.1%} of all; "
            "--max-length keeps more"
        )
    return lines


def _vector_lines(ready: Prepared) -> list[str]:
    """In how many of the training texts vectors are counted, where it is not all."""
    if ready.config.vectors != "counted":
        return []
    from convarium.data.texts.fitting import cut_of
    from convarium.train.word_vectors import MOST_COUNTED

    cut = cut_of(ready.parts.train, cast("TextPreprocessing", ready.preprocessing))
    share = MOST_COUNTED / max(1, cut.tokens - cut.lost + cut.texts)
    if share >= 1:
        return []
    return [f"vectors: counted in {share:.0%} of the training texts, which the seed draws"]


def _series_lines(parts: Parts, preprocessing: SeriesPreprocessing) -> list[str]:
    """What was found in the training series, and what is in no part."""
    from convarium.data.series.surveying import SeriesFacts

    dataset = parts.train.dataset
    told = SeriesFacts.of(dataset.survey(), parts.train.ids)
    lines = [f"note: {note}" for note in dataset.notes]
    if told.missing:
        lines.append(
            f"missing: {told.values:,} values of {told.missing:,} training series, filled in by "
            f"straight lines{', and marked' if preprocessing.marks else ''}"
        )
    if len(told.rates) > 1:
        rates = ", ".join(f"{n} of {rate}" for rate, n in told.rates.items())
        lines.append(f"rate: {rates} steps a second; all are resampled to {preprocessing.rate:g}")
    if parts.between:
        lines.append(
            f"split: by time; {parts.between:,} windows between the parts are in none of them"
        )
    return lines


def _grid_lines(parts: Parts, preprocessing: FieldPreprocessing) -> list[str]:
    """What was found in the fields, which times are in which part, and what is read besides."""
    lines = [f"note: {note}" for note in parts.train.dataset.notes]
    named = {"training": parts.train, "validation": parts.validation, "test": parts.test}
    spans = [f"{word} {part.name(0)} to {part.name(len(part) - 1)}" for word, part in named.items()]
    lines.append(f"split: blocks of time, {'; '.join(spans)}")
    if "held_out" in parts.settings:
        south, north, west, east = parts.settings["held_out"]
        lines.append(
            f"held out: the cells from {south:g} to {north:g} degrees north and {west:g} to "
            f"{east:g} east; the test counts them alone"
        )
    months = 0 if preprocessing.climatology is None else len(preprocessing.climatology.months)
    read = {
        f"the climatology of {months} months": preprocessing.options.start == "delta",
        "the season": preprocessing.options.season,
        "means of the training times": preprocessing.options.means,
        "static fields": preprocessing.options.static is not None,
        "numbers of cells": preprocessing.options.cells,
        "which cells are missing": preprocessing.masked,
    }
    said = [words for words, there in read.items() if there]
    return [*lines, f"read besides: {', '.join(said)}"] if said else lines


def _reach_lines(ready: Prepared) -> list[str]:
    """How far a network of fields sees on the earth, and what it cannot learn of places."""
    if ready.preprocessing.kind != "grids":
        return []
    from convarium.measure.field_reach import reach_in_words
    from convarium.train.field_choice import FITS_PLACES

    network: Any = ready.model
    steps: Any = ready.preprocessing
    lines = [f"sees: {reach_in_words(network, steps)}"]
    if network.constraint not in FITS_PLACES:
        lines.append(
            f"places: no maps of them, which the {network.constraint} constraint rules out"
        )
    return lines


def seen_lines(parts: Parts, preprocessing: Preprocessing) -> list[str]:
    """What share of the volumes the input holds, where a common spacing may cut some off.

    Of texts what share of their tokens it holds.
    """
    from convarium.data import (
        FieldPreprocessing,
        SeriesPreprocessing,
        TextPreprocessing,
        VolumePreprocessing,
    )

    if isinstance(preprocessing, FieldPreprocessing):
        return _grid_lines(parts, preprocessing)
    if isinstance(preprocessing, TextPreprocessing):
        return _text_lines(parts, preprocessing)
    if isinstance(preprocessing, SeriesPreprocessing):
        return _series_lines(parts, preprocessing)
    from convarium.data.volumes.fitting import shares_seen

    if not isinstance(preprocessing, VolumePreprocessing) or preprocessing.spacing is None:
        return []
    seen = shares_seen(parts.train, preprocessing)
    if seen.min() == 1:
        return ["seen: the whole of each training volume"]
    told = f"{seen.mean():.1%} of a training volume on average, {seen.min():.1%} at least"
    return [f"seen: {told}; the rest is cut off: a larger --size or --spacing shows more"]


def alike_lines(parts: Parts) -> list[str]:
    """A warning where pictures of the test or the validation part look like training pictures."""
    from convarium.data import lookalikes

    found = {word: count for word, count in lookalikes(parts).counts.items() if count}
    if not found:
        return []
    told = " and ".join(f"{count} {word}" for word, count in reversed(found.items()))
    grouped = parts.settings.get("group_alike") or parts.crossing
    remedy = "" if grouped else "; --group-alike keeps them in one part"
    texts = parts.train.dataset.kind == "texts"
    verb = "texts read like training texts" if texts else "images look like training images"
    return [f"warning: {told} {verb}{remedy}"]
