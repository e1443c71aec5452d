"""Whole numbers that cross the wire, within what every reader and every database can hold.

JSON lets numbers grow without end. A database's integers end at 2^63 - 1, and other readers keep numbers
exactly up to 2^53 - 1 only (RFC 7493, section 2.2). A number beyond that is refused where it comes in, so
that nothing behind has to think of it.
"""

from typing import Annotated

from msgspec import Meta

MAX_INTEGER = 2**53 - 1
"""The largest whole number in a document."""
MAX_REPORTED = 2**52
"""The largest attempt or generation that a device may report: the controller goes above what it hears."""

Whole = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
"""A whole number from 0 to ``MAX_INTEGER``."""
