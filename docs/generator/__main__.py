"""Write the generated reference pages: `python -m docs.generator`, or `make reference`."""

from docs.generator.pages import PAGES, REFERENCE

for name, page in PAGES.items():
    (REFERENCE / name).write_text(page(), encoding="utf-8")
