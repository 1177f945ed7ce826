"""The page of every figure: it follows from the stored files, and says what they say."""

from __future__ import annotations

import json
import re

import results_figures
import results_known
import write_results

ROW = re.compile(r"^\| (.*) \|$", re.MULTILINE)


def section(name: str) -> str:
    """The part of the page that a file's name ends."""
    parts = re.split(r"^## ", write_results.page(), flags=re.MULTILINE)
    (found,) = (part for part in parts if f"/results/{name}.json`" in part)
    return found


def test_the_page_is_what_the_tool_would_write() -> None:
    written = write_results.PAGE.read_text(encoding="utf-8")
    assert written == write_results.page(), "run: make results"


def test_every_stored_result_has_a_section_with_all_that_stands_behind_it() -> None:
    for path in write_results.results():
        stored = json.loads(path.read_text(encoding="utf-8"))
        text = section(path.stem)
        command = write_results.command_of(path, stored)
        assert f"`{command}` on {stored['date']}: " in text
        assert command.split()[2:] == stored["command"].split()[2:]
        assert (write_results.ROOT / command.split()[1]).is_file(), command
        assert stored["machine"]["processor"] in text
        assert all(f"{name} {version}" in text for name, version in stored["versions"].items())
        assert len(ROW.findall(text)) > 3, path.name


def test_every_figure_has_its_n_and_one_alone_has_no_range() -> None:
    for path in write_results.results():
        rows = write_results.figures_of(json.loads(path.read_text(encoding="utf-8")))
        assert [row for row in rows if not row.n] == []
        alone = [row for row in rows if row.n in ("1", "1 seed", "1 run")]
        assert [row for row in alone if row.spread] == []


def test_a_bound_that_is_missed_is_said_above() -> None:
    (path,) = (write_results.ROOT / "benchmarks" / "results").glob("deploying-intel*.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    for faster, words in ((9.0, "| holds |"), (1.0, "| **does not hold here** |")):
        for row in result["rows"]:
            row["times_faster"] = faster
        figures = write_results.figures_of(result)
        assert (False in map(results_figures.holds, figures)) is (faster == 1.0)
        assert words in write_results.overview([(path, result)])


def test_rows_of_another_run_have_their_own_command() -> None:
    (path,) = (write_results.ROOT / "benchmarks" / "results").glob("serving.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    own = {name: result[name] for name in ("command", "date", "machine")}
    result["rows"] = [own, own | {"command": "python a.py", "date": "2020-02-02"}]
    told = write_results.provenance(path, result)
    processor = result["machine"]["processor"]
    assert told.endswith(f" Other rows: `python a.py` on 2020-02-02, {processor}.")
    assert told.count("Other rows") == 1


def test_a_figure_is_compared_in_its_own_unit() -> None:
    told = [
        *(
            ("5", "at least 5", True),
            ("4.7", "at least 5", False),
            ("1,210 MB", "at most 1,200 MB", False),
        ),
        *(
            ("4.99 %", "under 5 %", True),
            ("5.00 %", "under 5 %", False),
            ("0", "0", True),
            ("1", "0", False),
        ),
        *(("2 s", "at most 3 ms", None), ("1", "at least TF-IDF", None), ("1", "", None)),
    ]
    for figure, asked, expected in told:
        row = results_figures.Figure("what", figure, "1", "", asked)
        assert results_figures.holds(row) is expected
    assert write_results.stored_verdicts({"holds": {"a": True, "b": False}}) == [True, False]


def test_figures_are_those_of_the_files() -> None:
    folder = write_results.ROOT / "benchmarks" / "results"
    stored = json.loads((folder / "fashion_mnist.json").read_text())
    right = sum(round(10_000 * run["accuracy"]) for run in stored["runs"])
    assert f"| mean of the seeds | {right / 300:.2f} % | 3 seeds |" in section("fashion_mnist")
    assert "**does not hold here**" in write_results.page()
    shown = section("blur_pooling")
    assert "| consistency, difference | 5.80 % | 3 | (3.22 % to 8.38 %) |" in shown


def test_every_section_has_a_heading_of_its_own() -> None:
    heads = re.findall(r"^## (.*)$", write_results.page(), flags=re.MULTILINE)
    assert len({*heads}) == len(heads)


def test_a_ratio_lies_within_what_both_ranges_allow() -> None:
    first, second = ({"lowest": low, "highest": high} for low, high in ((2.0, 4.0), (1.0, 5.0)))
    assert results_figures.within(first, second) == "within 0.4 to 4"
    assert results_figures.counted("found", 5, 6, share=False) == (
        *("found", "5", "6", "(43.65 % to 96.99 %)", ""),
    )


def test_fields_have_units_and_the_interval_of_their_months() -> None:
    folder = write_results.ROOT / "experiments" / "results"
    stored = json.loads((folder / "downscaling_winds.json").read_text())["by_cells"]
    (row,) = (
        it for it in stored["rows"] if (it["group"], it["method"]) == ("all", "delta + constraint")
    )
    low, high = (results_figures.number(end) for end in row["rmse_interval"])
    words = f"{results_figures.number(row['rmse'])} m/s | {row['n']} fields | ({low} to {high})"
    assert f"| delta + constraint: root mean square | {words} |" in section("downscaling_winds")
    path = folder / "downscaling_winds_curve.json"
    told = json.loads(path.read_text(encoding="utf-8")) | {"claim": "Of an earlier recipe."}
    assert "Of an earlier recipe." in write_results.section(path, told)


def test_an_unknown_result_shows_its_summaries() -> None:
    result = {
        "rows": [{"network": "a", "time": {"n": 4, "median": 2.0, "lowest": 1.0, "highest": 3.5}}],
        "score_of": {"n": 3, "mean": 0.5, "interval": [0.25, 0.75]},
        "runs": [{"n": 1, "mean": 9.0}],
    }
    assert results_figures.summaries(result) == [
        ("rows / a / time", "2", "4", "1 to 3.5", ""),
        ("score of", "0.5", "3", "(0.25 to 0.75)", ""),
    ]


def test_numbers_keep_three_digits() -> None:
    assert [results_figures.number(value) for value in (12345.6, 0.01234, 7, 1000)] == [
        *("12,346", "0.0123", "7", "1,000"),
    ]
    assert set(results_known.KNOWN) >= {"texts", "loader"}
