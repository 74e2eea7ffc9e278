"""Names that somebody tries for a tenant or a surface (F17): what must be refused, and what is only odd."""

REFUSED = [
    "../x",
    "..",
    ".",
    "",
    " ",
    "a/b",
    "a\\b",
    "%2e%2e",
    "a\x00",
    "a\nb",
    "x" * 300,
    "a.",
    "a ",
    "\u202ea",
    "a?b",
    "a#b",
]
ODD = ["con", ".hidden", "a|b", "a,b", "[x]", "a...b", "🙂", "{tenant}", "a b", "-", "a-", "é"]
PAIRS = [("A", "a"), ("é", "e\u0301"), ("ﬁ", "fi")]  # that some stores hold as one: by case, NFC and NFD, ligature
