"""Writes the table of options in options.md, from the table that the plug-in itself uses.

    python docs/reference/make_options.py

The prose around the table is written by hand and stays.
"""

from pathlib import Path

from locust_adaptive.plugin.options import OPTIONS

PAGE = Path(__file__).with_name("options.md")
BEGIN, END = "<!-- options: made by make_options.py -->\n", "<!-- /options -->\n"


def table() -> str:
    """The options as a Markdown table."""
    rows = [
        "| option | class attribute | environment | default | web form | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for option in OPTIONS:
        default = f"`{option.default}`" if option.default else ""
        meaning = option.help.replace("%%", "%").replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| `{option.flag}` | `{option.name}` | `{option.env}` | {default} | {option.web} | {meaning} |")
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
