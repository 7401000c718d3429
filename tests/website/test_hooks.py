"""The site's hooks: formulas, links to what lies beside docs/, and nothing from the network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.exceptions import PluginError

from website import elsewhere, mathematics, offline


def page_at(source: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=source), meta={})


def rewritten(markdown: str, source: str) -> str:
    nothing: Any = None
    return elsewhere.on_page_markdown(markdown, page_at(source), nothing, nothing)


@pytest.mark.parametrize(
    ("source", "link", "wanted"),
    [
        ("ci.md", "[x](theory.md#sources)", "[x](theory.md#sources)"),
        ("trust.md", "[x](../SECURITY.md)", "[x](security.md)"),
        ("own-models.md", "[x](../examples/in-a-sweep)", "[x](examples/in-a-sweep.md)"),
        ("own-models.md", "[x](../benchmarks/README.md#a-b)", "[x](benchmarks.md#a-b)"),
        ("index.md", "[`x`](configs)", "`x`"),
        ("index.md", "[x](docs/ci.md)", "[x](ci.md)"),
        ("security.md", "[x](docs/trust.md)", "[x](trust.md)"),
        ("ci.md", "[x](nowhere.md)", "[x](nowhere.md)"),
        ("ci.md", "[x](../../outside.md)", "[x](../../outside.md)"),
        ("ci.md", "[x](https://example.com/y)", "[x](https://example.com/y)"),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(source: str, link: str, wanted: str) -> None:
    assert rewritten(link, source) == wanted


def test_formulas_become_mathml() -> None:
    html = r'a <span class="arithmatex">\(x &lt; \sqrt{y}\)</span> b <div class="arithmatex">\[z\]</div>'
    made = mathematics.on_page_content(html)
    assert made.startswith("a <math")
    assert "&#x0003C;" in made
    assert "<msqrt>" in made
    assert '<div class="formula"><math' in made
    assert "arithmatex" not in made


def test_a_formula_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(PluginError, match="nonsense"):
        mathematics.on_page_content(r'<span class="arithmatex">\(\nonsense{x}\)</span>')


@pytest.mark.parametrize(
    "content",
    [
        '<script src="https://example.com/a.js"></script>',
        "<link rel=stylesheet href=//example.com/a.css>",
        '<img alt="x" src="http://example.com/a.png">',
        "<style>@import url(https://example.com/a.css)</style>",
        "<style>a { background: url('//example.com/a.png') }</style>",
    ],
)
def test_what_would_be_loaded_from_the_network_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(content)
    with pytest.raises(PluginError, match=r"page\.html: .*example\.com"):
        offline.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))  # type: ignore[arg-type]


def test_links_for_readers_are_none(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<a href="https://example.com">x</a> <img src="a.png"> <script src="b.js">')
    (tmp_path / "style.css").write_text("a { background: url(data:image/svg+xml,%3Csvg/%3E) }")
    offline.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))  # type: ignore[arg-type]
