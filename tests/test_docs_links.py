"""Every relative link in a Markdown file leads to something, and no page names a path of one machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = {"node_modules", "build", "dist", "adaptive-results"}
PAGES = sorted(
    path.relative_to(ROOT)
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in SKIPPED for part in path.relative_to(ROOT).parts)
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")


def links(text: str) -> list[str]:
    return LINK.findall(re.sub(r"`[^`\n]*`", "", FENCE.sub("", text)))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ +(.*?) *$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fault(page: Path, link: str) -> str | None:
    """Why a link leads nowhere, or None."""
    if re.match(r"[a-z][a-z+.-]*:", link):
        return None if link.startswith(("https:", "mailto:")) else "not https"
    if link.startswith("/"):
        return "absolute"
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT):
        return "outside the repository"
    if not target.exists():
        return "there is no such file"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{target.name} has no heading for #{anchor}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_resolves(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    faults = {link: found for link in links(text) if (found := fault(ROOT / page, link))}
    assert faults == {}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_names_a_path_of_one_machine(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert re.findall(r"(?<![\w.$/}-])/(?:home|root|tmp|work/main|work/shared|Users|opt)/\S+", text) == []


def test_the_checker_sees_what_is_wrong() -> None:
    readme = ROOT / "README.md"
    assert links("[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](h.md#i)") == ["b.md", "h.md#i"]
    assert fault(readme, "Makefile") is None
    assert fault(readme, "docs/reference/slo.md#units") is None
    for wrong in ("no.md", "/etc/passwd", "../outside.md", "docs/reference/slo.md#no-such", "http://example.org"):
        assert fault(readme, wrong) is not None


def test_the_pages_of_the_repository_are_among_those_checked() -> None:
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert {Path(name) for name in tracked.split() if (ROOT / name).exists()} <= set(PAGES)
    assert Path("README.md") in PAGES
