"""A hook of mkdocs: pages of the site that lie beside `docs/`, and links to what is no page.

Links in Markdown are paths in the repository, so that they work on a code host; here they become links of the site.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/README.md"))

PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    **{f"examples/{name}/README.md": f"examples/{name}.md" for name in EXAMPLES},
}
"""File in the repository -> page of the site."""

WIDE = ("index.md", "tutorial.md", "architecture.md")
"""Pages whose tables of results need the room of the table of contents."""

_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[\w-]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn paths in the repository into links of the site; to what is no page, into plain text."""
    sources = {target: source for source, target in PAGES.items()}
    here = page.file.src_uri
    if here in WIDE:
        page.meta["hide"] = ["toc"]
    place = (ROOT / sources[here] if here in sources else DOCS / here).parent

    def rewritten(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(place / link["target"]))
        if not target.exists() or not target.is_relative_to(ROOT):
            return link[0]  # mkdocs says so
        readme = target / "README.md"
        name = (readme if readme.is_file() else target).relative_to(ROOT).as_posix()
        if target.is_relative_to(DOCS):
            name = target.relative_to(DOCS).as_posix()
        elif name in PAGES:
            name = PAGES[name]
        else:
            return link["text"]
        return f"[{link['text']}]({os.path.relpath(name, Path(here).parent)}{link['anchor'] or ''})"

    return _LINK.sub(rewritten, markdown)
