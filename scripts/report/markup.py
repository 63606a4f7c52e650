"""HTML as nested calls. Text is escaped unless it is markup already, so nothing that comes from a file becomes a tag."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable

VOID = ("br", "img", "meta")


class Html(str):
    """Text that is markup already."""


def text(value: object) -> Html:
    """`value` as markup: what is not yet, is escaped. None is nothing; lists are joined."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html("")
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Html("".join(map(text, value)))
    plain = str(value).encode("utf-8", "replace").decode()  # names of files may hold bytes that are no UTF-8
    return Html(html.escape(plain))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """`<name attributes>children</name>`. Attributes are written `class_`, `aria_label`; None and False leave one out."""
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{text(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in VOID else f"{opening}{text(children)}</{name}>")


def table(
    head: list,
    rows: list[list],
    label: str,
    texts: Collection[int] = (0,),
    foot: list | None = None,
    wrap: bool = False,
) -> Html:
    """A table that scrolls inside itself.

    Args:
        label: what it holds, for readers that do not see it.
        texts: the columns of text; the others are numbers, aligned on the right.
        foot: a last row, set apart.
        wrap: long cells are broken into lines; otherwise the table scrolls.
    """

    def cells(row: list, name: str = "td") -> Html:
        out = []
        for k, cell in enumerate(row):
            kind = "th" if k == 0 else name
            scope = "col" if name == "th" else "row" if k == 0 else None
            out.append(tag(kind, cell, class_=None if k in texts else "num", scope=scope))
        return tag("tr", out)

    body = [tag("thead", cells(head, "th")), tag("tbody", [cells(row) for row in rows])]
    if foot:
        body.append(tag("tfoot", cells(foot)))
    return tag(
        "div",
        tag("table", body, class_="wrap" if wrap else None),
        class_="scroll",
        role="region",
        aria_label=label,
        tabindex=0,
    )


def signed(value: float) -> Html:
    """A difference with its sign, coloured."""
    shown = f"{value:+.1f}".replace("-", "−")
    kind = "up" if value >= 0.05 else "down" if value <= -0.05 else "same"
    return tag("span", "±0.0" if kind == "same" else shown, class_=kind)


def anchor(prefix: str, name: str) -> str:
    """An id for a name."""
    return prefix + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" if c != "-" else c for c in name)
