"""Texts from elsewhere, made fit for one line of a log or a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text with whatever moves a cursor, breaks a line or hides written out."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text)


def one_line(error: BaseException | None) -> str:
    """What an error says, in one line; its type where it says nothing."""
    if error is None:
        return "unknown reason"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return printable(" ".join(str(error).split()))[:500] or type(error).__name__
