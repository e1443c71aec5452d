"""Which licence a text is, by what its first lines say."""

import re
from typing import Final

_READ_CHARS: Final = 600
_KNOWN: Final = (
    ("apache-2.0", r"apache license\s*,?\s*version 2"),
    ("mit", r"mit license|permission is hereby granted, free of charge"),
    ("gemma", r"gemma terms of use"),
    ("llama3.2", r"llama 3\.2 community license"),
    ("llama3.1", r"llama 3\.1 community license"),
    ("llama3", r"meta llama 3 community license"),
    ("llama2", r"llama 2 community license"),
    ("bsd-3-clause", r"redistribution and use in source and binary forms"),
    ("cc-by-nc-4.0", r"attribution-noncommercial 4\.0"),
    ("cc-by-sa-4.0", r"attribution-sharealike 4\.0"),
    ("cc-by-4.0", r"attribution 4\.0 international"),
    ("gpl-3.0", r"gnu general public license\s*version 3"),
)
_FIRST_WORDS: Final = 60


def licence_of_text(text: str) -> str:
    """Its id; for an unknown one its first line, so that a person sees what it is."""
    start = " ".join(text[:_READ_CHARS].lower().split())
    for licence, pattern in _KNOWN:
        if re.search(pattern, start):
            return licence
    first = next((line.strip() for line in text.splitlines() if line.strip()), "a text without words")
    return first[:_FIRST_WORDS]
