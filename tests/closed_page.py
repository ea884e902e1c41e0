"""What holds of every page that the package writes: it runs nothing and asks nobody for anything."""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br", "link"}
PICTURE = "data:image/jpeg;base64,"


class Page(HTMLParser):
    """What a browser would make of a page: elements, their attributes, and the text of each article."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.articles, self.text, self._open = [], [], "", []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "article":
            self.articles.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if "article" in self._open:
            self.articles[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def check_closed(text):
    """The page runs nothing and asks nobody for anything."""
    made = Page(text)
    assert not {tag for tag, _ in made.elements} & {"script", "link", "iframe", "object", "a", "form", "base"}
    for _, attributes in made.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert re.match(r"data:image/(jpeg|png|webp|gif|svg\+xml);base64,", attributes.get("src", PICTURE))
        assert "href" not in attributes
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in text.replace("http-equiv", "")
    (policy,) = (each["content"] for each in made.all("meta") if "http-equiv" in each)
    assert policy.startswith("default-src 'none'")
    return made
