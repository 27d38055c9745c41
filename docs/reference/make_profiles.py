"""Writes the table of profiles in profiles.md, from those that the search uses and what the suite measured of them.

    make bench-search
    python docs/reference/make_profiles.py

The prose around the table is written by hand and stays.
"""

from pathlib import Path

from locust_adaptive.search.profiles import PROFILES, STANDARD

PAGE = Path(__file__).with_name("profiles.md")
RESULTS = Path(__file__).parents[2] / "benchmarks" / "search" / "RESULTS.md"
BEGIN, END = "<!-- profiles: made by make_profiles.py -->\n", "<!-- /profiles -->\n"

MEASURED = {
    "median": "median error",
    "p90": "p90",
    ">5 % over": "over by more than 5 %",
    "covered": "interval holds the truth",
    "s median": "median time, s",
    "s p90": "p90, s",
}
"""Columns of RESULTS.md, and what they are called here."""


def measured(results: str) -> dict[str, dict[str, str]]:
    """The table "Each tool" of RESULTS.md: its cells, by tool and column."""
    section = results.partition("\n## Each tool\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


def table(results: str) -> str:
    """The profiles as a Markdown table; cells of what was not measured are empty."""
    found = measured(results)
    heads = ["profile", "precision", "dwells", "soak", *MEASURED.values()]
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, p in PROFILES.items():
        figures = found.get("ours" if name == STANDARD else f"ours {name}", {})
        cells = [f"`{name}`", f"{100 * p['precision']:g} %", f"{p['dwells']}", f"{p['soak_s']:g} s"]
        rows.append(f"| {' | '.join([*cells, *(figures.get(column, '') for column in MEASURED)])} |")
    return "".join(row + "\n" for row in rows)


def updated(page: str, results: str) -> str:
    """The page with its table as it should be. ValueError when a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks the mark {(END if begin else BEGIN).strip()}: put it around the table")
    return before + begin + table(results) + end + after


def last_results() -> str:
    """RESULTS.md, empty if the suite has not been run."""
    return RESULTS.read_text("utf-8") if RESULTS.exists() else ""


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8"), last_results()), "utf-8")
