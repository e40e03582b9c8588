"""Check the built site: links, anchors and images inside it lead somewhere, and none is fetched.

python docs/_ext/links.py docs/_build/html

Links that lead out of it are not visited, but listed in ``external_links.txt`` beside the folder.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src")}


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in one tag."""
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.anchors.add(value)
            elif value and (tag, name) in LOADED:
                self.loaded.append(value)
            elif name == "href" and value:
                self.links.append(value)


def looked_at(site: Path) -> tuple[list[str], set[str]]:
    """List the faults, a line each, and what leads out of the site."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    external = set()
    for path, page in pages.items():
        name = path.relative_to(site)
        for address in [*page.links, *page.loaded]:
            scheme, host, place, _, anchor = urlsplit(address)
            if scheme or host:
                if address in page.loaded and scheme != "data":
                    found.append(f"{name}: loads {address}")
                elif host:
                    external.add(address)
                continue
            target = (path.parent / unquote(place)).resolve() if place else path
            if not target.exists():
                found.append(f"{name}: {address} leads nowhere")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                found.append(f"{name}: {address}: {target.name} has no such anchor")
    return found, external


def main(arguments: list[str]) -> int:
    """Print the faults; the exit code says whether there are any."""
    site = Path(arguments[0]).resolve()
    found, external = looked_at(site)
    for line in found:
        print(line, file=sys.stderr)
    listed = site.with_name("external_links.txt")
    listed.write_text("".join(f"{address}\n" for address in sorted(external)), encoding="utf-8")
    pages = len([*site.rglob("*.html")])
    print(
        f"{pages} pages, {len(found)} faulty links; not visited: {len(external)} links to elsewhere"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
