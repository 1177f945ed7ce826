"""`convarium audit RUN DATA`: what the answers of a run rest on, and gates for a build."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.evaluate import measured, opened_data
from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    natural,
    positive,
    share,
    write,
    write_json,
)
from convarium.errors import OptionError
from convarium.explain.methods import METHODS

if TYPE_CHECKING:
    from convarium.data import Dataset, Part
    from convarium.explain import Audit
    from convarium.explain.auditing.gates import Gate

_REFUSED = 3  # claims that are not supported, in words; the page and the JSON have all
_METHODS = {name.replace("_", "-"): name for name in METHODS}


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    _add_data(parser)
    parser.add_argument(
        "--method",
        choices=_METHODS,
        default="grad-cam",
        metavar="NAME",
        help="of the heatmaps, as 'convarium explain --help' lists them (grad-cam)",
    )
    parser.add_argument("--layer", help="dotted name of the layer (the network's own choice)")
    parser.add_argument("--most", type=positive, default=512, help="samples to change (512)")
    parser.add_argument(
        "--least", type=share, default=0.05, help="the effect that counts, as a share (0.05)"
    )
    parser.add_argument(
        "--least-samples",
        type=positive,
        default=20,
        help="of a label in a group, from which it is compared (20)",
    )
    parser.add_argument(
        "--removal",
        choices=("surrounding", "mean", "blur"),
        default="surrounding",
        help="what stands where something is removed (surrounding)",
    )
    parser.add_argument("--seed", type=natural, default=0, help="of all that is drawn (0)")
    add_prediction_arguments(parser)
    limits = parser.add_argument_group("gates", "the exit code is 1 where one does not hold")
    limits.add_argument("--max-gap", type=_limit, help="largest gap in accuracy, such as 0.05")
    limits.add_argument(
        "--max-flip", type=_limit, help="largest share of predictions that backgrounds may flip"
    )
    limits.add_argument(
        "--no-shortcut", action="store_true", help="no supported claim of a place or background"
    )
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", default="audit", help="where to write (audit)"
    )


def _add_data(parser: Parser) -> None:
    """What is audited, by which groups and regions."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("data", metavar="DATA", help="labelled data, as 'convarium evaluate' takes")
    parser.add_argument("--path-column", help="column of a table with the files' paths")
    parser.add_argument("--label-column", action="append", help="column of a table with the labels")
    parser.add_argument(
        "--group-column",
        dest="groups",
        metavar="COLUMN",
        action="append",
        default=[],
        help="column of a table with groups to compare; may be given several times",
    )
    regions = parser.add_mutually_exclusive_group()
    regions.add_argument(
        "--regions", metavar="FOLDER", help="masks of what should matter, by the images' names"
    )
    regions.add_argument(
        "--region-column", metavar="COLUMN", help="column of a table with the masks' paths"
    )
    parser.add_argument(
        "--part",
        choices=("all", "train", "validation", "test"),
        default="all",
        help="of the data that the run was trained on, as it was split (all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Audit, write the page and the JSON, and hold the audit to its gates."""
    from convarium import explain, predict, report
    from convarium.explain.auditing.gates import check_limits
    from convarium.processes import ALONE
    from convarium.progress import Progress

    folder = Path(arguments.output)
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        raise OptionError(f"--output (={arguments.output!r}): {place} is a file; name a folder.")
    marked = bool(arguments.regions or arguments.region_column)
    limits = {"max_gap": arguments.max_gap, "max_flip": arguments.max_flip}
    check_limits(**limits, groups=bool(arguments.groups), regions=marked)
    opened = predict.open_run(arguments.run)
    dataset = opened_data(arguments, opened)
    columns, masks = _columns(arguments, dataset)
    part, known = measured(arguments.part, [opened], dataset, ALONE)
    steps = len(part) + min(arguments.most, len(part))
    with Progress(steps, "audit", enabled=not arguments.json) as progress:
        found = explain.audit(
            opened,
            part,
            groups={name: _of(part, words) for name, words in columns.items()},
            regions=arguments.regions if masks is None else _of(part, masks),
            method=_METHODS[arguments.method],
            layer=arguments.layer,
            most=arguments.most,
            least=arguments.least,
            least_samples=arguments.least_samples,
            removal=arguments.removal,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            seed=arguments.seed,
            progress=progress,
        )
    held = found.gates(**limits, no_shortcut=arguments.no_shortcut)
    title = f"{opened.folder.name}: what its answers rest on"
    page, table = report.write_audit(folder, found, title, held)
    _tell(arguments, found, held, {"page": str(page), "table": str(table), "trained_on": known})
    failed = [gate for gate in held if not gate.passed]
    if failed:
        words = "the gate fails" if len(failed) == 1 else "gates fail"
        sys.stderr.write(f"convarium: {words}: {' '.join(gate.sentence for gate in failed)}\n")
    return 1 if failed else 0


def _columns(
    arguments: argparse.Namespace, dataset: Dataset
) -> tuple[dict[str, tuple[str, ...]], list[str] | None]:
    """The words of the group columns, and the masks' paths; one a sample of the data set."""
    from convarium import data

    names = [*arguments.groups, *filter(None, [arguments.region_column])]
    if not names:
        return {}, None
    words = data.column_words(dataset, names)
    groups = {name: words[name] for name in arguments.groups}
    if not arguments.region_column:
        return groups, None
    folder = Path(dataset.source).parent
    paths = words[arguments.region_column]
    return groups, [str(folder / path) if path else "" for path in paths]


def _of(part: Dataset | Part, words: Any) -> list[str]:
    """What belongs to the audited samples."""
    from convarium.data import Part

    return [words[i] for i in part.ids] if isinstance(part, Part) else list(words)


def _tell(
    arguments: argparse.Namespace, found: Audit, held: tuple[Gate, ...], more: dict[str, Any]
) -> None:
    """The audit as JSON or in words."""
    if arguments.json:
        gates = [gate.to_mapping() for gate in held]
        write_json({**found.to_mapping(), "gates": gates, **more})
        return
    low, high = found.accuracy.interval
    write(
        f"accuracy {found.accuracy.value:.2%} ({low:.2%} to {high:.2%}, n = {found.accuracy.n}); "
        f"{found.n} samples looked at closely"
    )
    if more["trained_on"] and arguments.part == "all":
        write(
            f"  note: the network has learnt from {more['trained_on']} of these samples; --part "
            "test audits those that it has not seen"
        )
    write(f"{found.method}, the sanity check: {found.sanity.verdict}. {found.sanity.reason}")
    if found.note:
        write(f"  note: {found.note}")
    refused = [claim for claim in found.claims if claim.verdict == "not supported"]
    for claim in found.claims:
        if claim not in refused:
            write(f"{claim.verdict}: {claim.text}")
            write(f"  {claim.reason}")
    if refused:
        left = f" And {len(refused) - _REFUSED} more." if len(refused) > _REFUSED else ""
        write(f"not supported: {' '.join(claim.text for claim in refused[:_REFUSED])}{left}")
    if not found.claims:
        write("nothing to claim: no cluster of heatmaps stands at a small place")
    for gate in held:
        write(f"gate {gate.name} {'holds' if gate.passed else 'fails'}: {gate.sentence}")
    if found.skipped:
        first = found.skipped[0]
        write(f"skipped {len(found.skipped)}, the first: {first.name} ({first.reason})")
    write(f"{more['page']} and {more['table']}")


def _limit(text: str) -> float:
    """A share from 0 to 1, ends included."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number") from error
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be from 0 to 1, such as 0.05")
    return value
