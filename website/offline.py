"""A hook of mkdocs: a site that would load anything from the network is an error."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|embed|object)\b[^>]*\b(?:src|srcset|data)=["']?(?:https?:)?//[^"'> ]+"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*\bhref=["']?(?:https?:)?//[^"'> ]+"""
    r"""|@import\s+["']?(?:url\()?["']?(?:https?:)?//[^"')]+"""
    r"""|\burl\(["']?(?:https?:)?//[^"')]+""",
    re.IGNORECASE,
)


def on_post_build(config: MkDocsConfig) -> None:
    """Look through every page and style sheet."""
    site = Path(config.site_dir)
    files = [path for pattern in ("*.html", "*.css") for path in sorted(site.rglob(pattern))]
    found = [f"{path.relative_to(site)}: {call}" for path in files for call in _LOADED.findall(path.read_text("utf-8"))]
    if found:
        raise PluginError("the site would load from the network:\n" + "\n".join(found))
