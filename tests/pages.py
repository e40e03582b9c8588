"""What a page holds, as a reader or a browser finds it, and what every page of ours must be."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a reader, or a browser, finds in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts.append(data)
        elif "style" not in self._open:
            self.words.append(data)
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def having(self, name, value):
        return [tag for tag, attributes in self.tags if value in attributes.get(name, "").split()]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def tables(self):
        """The long tables: headings, rows as they are searched, and which rows are low."""
        return [json.loads(one) for one in self.scripts[:-1]]


def check_page(html: str) -> Page:
    """Parse a page that loads nothing, runs one script alone, and can be read aloud."""
    page = Page(html)
    (policy,) = (one["content"] for one in page.all("meta") if "http-equiv" in one)
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )
    kinds = [one.get("type", "") for one in page.all("script")]
    assert kinds == ["application/json"] * (len(kinds) - 1) + [""]
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("title")) == len(page.all("h1")) == len(page.all("main")) == 1
    for _, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
        assert not [name for name in attributes if name.startswith("on")]
    assert all(one["alt"] for one in page.all("img"))
    ids = Counter(one["id"] for _, one in page.tags if "id" in one)
    assert max(ids.values()) == 1
    for _, attributes in page.tags:
        assert ids[attributes.get("aria-labelledby", "main")]
        assert ids[attributes["href"][1:]] if attributes.get("href", "")[:1] == "#" else True
    return page
