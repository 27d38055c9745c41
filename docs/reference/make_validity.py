"""Writes the table of rules in validity.md, from the rules that the search itself uses.

    python docs/reference/make_validity.py

The prose around the table is written by hand and stays.
"""

from pathlib import Path

from locust_adaptive.search.rules import RULES, Rule

PAGE = Path(__file__).with_name("validity.md")
BEGIN, END = "<!-- rules: made by make_validity.py -->\n", "<!-- /rules -->\n"


def bound(rule: Rule) -> str:
    """At most 70 %, at least 98 %, at most 8 s."""
    if rule.bound is None:
        return "at most 5 ms, or 5 % of the limit if that is more"
    text = f"{100 * rule.bound:g} %" if rule.unit == "share" else f"{rule.bound:g}{' s' if rule.unit == 's' else ''}"
    return f"at {'least' if rule.at_least else 'most'} {text}"


def table() -> str:
    """The rules as a Markdown table."""
    rows = ["| id | rule | effect | value | bound | source | what to do |", "|---|---|---|---|---|---|---|"]
    for r in RULES:
        cells = [f"`{r.id}`", f"`{r.name}`", r.effect, r.formula, bound(r), r.source, r.advice]
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "".join(row + "\n" for row in rows)


def updated(page: str) -> str:
    """The page with its table as it should be. ValueError when a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} lacks the mark {(END if begin else BEGIN).strip()}: put it around the table")
    return before + begin + table() + end + after


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), "utf-8")
