"""`python -m website`: brings the generated parts of the documentation up to date."""

from __future__ import annotations

from website.reference import DOCS, up_to_date

for path in sorted(DOCS.rglob("*.md")):
    page = path.read_text(encoding="utf-8")
    new = up_to_date(page)
    if new != page:
        path.write_text(new, encoding="utf-8")
        print(f"written: {path.relative_to(DOCS.parent)}")
