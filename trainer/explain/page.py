"""The page that shows all pictures of an explanation: one file of plain HTML, which asks nobody for anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

_STYLE = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2rem;background:#202020;color:#eee}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}"
    "figure{margin:0}img{width:100%}a{color:inherit}figcaption{overflow-wrap:anywhere;color:#bbb}"
)


class Line(Protocol):
    """What the page says of an image."""

    @property
    def name(self) -> str: ...
    @property
    def decided(self) -> str: ...
    @property
    def decided_probability(self) -> float: ...
    @property
    def explained(self) -> str: ...


def page(subject: str, lines: Sequence[tuple[Line, Path]], unreadable: Sequence[str]) -> str:
    """Make the page.

    Args:
        lines: With each the path of its picture below the page's folder.
        unreadable: ``name: reason``.
    """
    figures = "\n".join(_figure(line, picture) for line, picture in lines)
    failed = "".join(f"<li>{escape(text)}</li>" for text in unreadable)
    title = f"What {escape(subject)} decides by"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        f"<body>\n<h1>{title}</h1>\n<p>Left the image, right the same under its Grad-CAM heat map: the brighter, the more "
        f"speaks for the label named below it. Of each picture the brightest is as bright, however little it is.</p>\n"
        f"<main>\n{figures}\n</main>\n" + (f"<h2>Not read</h2><ul>{failed}</ul>\n" if unreadable else "") + "</body></html>\n"
    )


def _figure(line: Line, picture: Path) -> str:
    # A name may be anything that a file system takes.
    source = quote(os.fsencode(picture.as_posix()))
    text = f"{line.name}: {line.decided} {line.decided_probability:.1%}"
    if line.explained != line.decided:
        text += f", explained: {line.explained}"
    return (
        f'<figure><a href="{source}"><img src="{source}" loading="lazy" alt="{escape(text)}"></a>'
        f"<figcaption>{escape(text)}</figcaption></figure>"
    )
