"""What the figures of results on deployment are: tuning, predicting from files, serving."""

from __future__ import annotations

import statistics

from results_figures import Figure, Known, Result, number, percent, row, within


def deploying(result: Result) -> list[Figure]:
    """What was chosen against eager torch, and against the best single form."""
    rows = []
    for goal in dict.fromkeys(it["goal"] for it in result["rows"]):
        found = [it for it in result["rows"] if it["goal"] == goal]
        mean = statistics.geometric_mean(it["times_faster"] for it in found)
        asked = "at least 5" if goal == "latency" else ""
        rows.append(
            row(f"{goal}: times as fast as eager, geometric mean", mean, n=len(found), asked=asked)
        )
        for it in found:
            name, chosen = f"{it['network']}, {goal}", it["chosen"]
            times, best = it["seconds"], it["best"]
            n = times[chosen]["n"]
            what = f"{name}: times as fast as eager, by {chosen}"
            eager = next(times[form] for form in times if form.startswith("eager"))
            rows.append(row(what, it["times_faster"], n=n, spread=within(eager, times[chosen])))
            what = f"{name}: its time / that of {best}"
            spread = within(times[chosen], times[best]) if chosen != best else "the same form"
            rows.append(row(what, it["chosen_against_best"], n=n, spread=spread))
            rows[-1] = rows[-1]._replace(asked="at most 1.03")
    return rows


def accuracy(result: Result) -> list[Figure]:
    """Points that the chosen forms of trained networks lose, in pairs."""
    rows = []
    for it in result["rows"]:
        lost = it["loss"]
        rows.append(
            Figure(
                f"{it['network']}: points of accuracy lost by {it['chosen']}",
                f"{lost['before'] - lost['after']:.2f} of {lost['before']:.1f}",
                f"{lost['n']:,}",
                "({:.2f} to {:.2f})".format(*lost["interval"]),
                f"under {lost['points']:g}",
            )
        )
    return rows


def predicting(result: Result) -> list[Figure]:
    """Images a second from files to labels, against the usual pipeline."""
    return [
        row(
            f"{it['network']}: times the usual, by {it['form']}",
            it["times_the_usual"],
            n=it["seconds"]["ours"]["n"],
            asked=f"at least {number(it['bound'])}",
            spread=within(it["seconds"]["usual"], it["seconds"]["ours"]),
        )
        for it in result["rows"]
    ]


def serving(result: Result) -> list[Figure]:
    """A server beside a loop over the same bytes, in overload, at new versions, at its end."""
    rows = []
    for it in result["rows"]:
        name, over, new = it["network"], it["overload"], it["reloads"]
        least = f"at least {result['bounds'][it['network']]}"
        span, late = f"{over['seconds'] / 60:.3g} minutes", over["let_in_since_due_ms"]["99"]
        sent, unanswered = f"{over['sent']:,}", str(over["unanswered"])
        speeds, taken = it["images_per_second"], f"{over['statuses']['200']:,}"
        share = row(f"{name}: server / in-process loop", it["share_of_loop"], asked=least)
        spread = within(speeds["server"], speeds[it["reference"]])
        rows += [
            share._replace(n=str(speeds["server"]["n"]), spread=spread),
            Figure(f"{name}: unanswered in {span} of overload", unanswered, sent, "", "0"),
            row(
                f"{name}: 99 % of the accepted answered within",
                late,
                n=taken,
                unit=" ms",
                asked=f"under {over['deadline_ms']:g} ms",
            ),
            Figure(
                f"{name}: growth of memory meanwhile",
                percent(over["memory_growth"]),
                span,
                "",
                "under 5 %",
            ),
            Figure(
                f"{name}: requests lost over new versions",
                str(new["lost"]),
                str(new["versions"]),
                "",
                "0",
            ),
            Figure(f"{name}: requests lost at the end", str(it["end"]["lost"]), "1", "", "0"),
        ]
    return rows


KNOWN = {
    "deploying": Known(
        "The fastest form",
        "All forms take turns of a tenth of a second, at 224x224; initial weights, of which "
        "8-bit forms keep no layer in float32, as those of trained networks may.",
        deploying,
    ),
    "deploying_accuracy": Known(
        "What the fastest form loses",
        "Networks trained on ten topics of clip art at 64x64; of the other half of the pictures "
        "every second one admitted the forms, and those between are judged by.",
        accuracy,
    ),
    "predicting": Known(
        "From JPEG files to labels",
        "500x375 to 224, against Pillow, torch's DataLoader and eager float32.",
        predicting,
    ),
    "serving": Known("Serving", "On loopback, clients on the same cores.", serving),
}
