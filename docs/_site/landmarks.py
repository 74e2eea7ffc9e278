"""Gives each navigation of a page a name of its own, which the theme leaves out; called by MkDocs for every page."""

import re

_SECTION = re.compile(
    r'aria-labelledby="[^"]+"(?P<more>[^>]*>\s*<label class="md-nav__title"[^>]*>\s*<span[^>]*></span>\s*)'
    r"(?P<title>[^<]+)"
)
_CONTENTS = 'aria-label="Table of contents"'


def on_post_page(output: str, **_: object) -> str:
    """Return a page whose sections are called by their titles, and whose second table of contents by its place."""
    named = _SECTION.sub(
        lambda found: f'aria-label="{found["title"].strip()}: pages"{found["more"]}{found["title"]}', output
    )
    first, contents, rest = named.partition(_CONTENTS)
    return first + contents + rest.replace(_CONTENTS, 'aria-label="Table of contents, beside the text"')
