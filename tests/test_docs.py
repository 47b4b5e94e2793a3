"""What the documents say: links lead somewhere, every setting is told, every folder has its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tapedeck.config import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors_of(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [LINK.sub(lambda link: link[0].partition("]")[0].strip("["), heading.strip()) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors_of(there), target


def test_every_page_is_found_from_the_readme() -> None:
    """By links from page to page."""
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        found = [target.partition("#")[0] for target in LINK.findall(page.read_text()) if ":" not in target]
        todo += [(page.parent / path).resolve() for path in found if path]
    assert set(PAGES) - seen == set()


def test_every_setting_is_told_and_no_other() -> None:
    told = set(re.findall(r"TAPEDECK_([A-Z0-9_]+)", (ROOT / "docs/reference/settings.md").read_text()))
    assert told - {"CONFIG"} == {name.upper() for name in Settings.model_fields}


def test_every_folder_has_a_page() -> None:
    folders = {path.name for path in (ROOT / "src/tapedeck").iterdir() if (path / "__init__.py").exists()}
    table = (ROOT / "docs/README.md").read_text().partition("## Explanations")[2]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    assert {name for first, _ in rows for name in re.findall(r"`(\w+)`", first)} == folders
    assert {path.stem for path in (ROOT / "docs/explain").glob("*.md")} == {
        "words",
        *(name for _, second in rows for name in re.findall(r"explain/(\w+)\.md", second)),
    }
