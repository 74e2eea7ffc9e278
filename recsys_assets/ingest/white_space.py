"""Set of characters that is trimmed from ids: exactly Unicode White_Space."""

# Python's str.strip() also removes U+001C to U+001F, which are not White_Space: an id may begin with one.
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def trim(text: str) -> str:
    """Return `text` without White_Space at its ends."""
    return text.strip(WHITE_SPACE)
