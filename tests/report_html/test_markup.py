from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from tierwise.report.html.markup import Markup, el, escaped, joined


class Read(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.values: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def read(markup: str) -> Read:
    reader = Read()
    reader.feed(markup)
    reader.close()
    return reader


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs", "Cn"])))
def test_any_text_comes_back_as_text_and_never_as_an_element(text):
    reader = read(el("p", text, title=text))
    assert reader.tags == ["p"]
    assert "".join(reader.texts) == text
    assert reader.values == [text]


@given(st.text())
def test_every_text_can_be_written_as_utf_8_without_control_characters(text):
    said = escaped(text).encode("utf-8").decode("utf-8")
    assert not any(ord(c) < 32 and c not in "\n\t\r" for c in said)


def test_markup_is_not_escaped_twice_and_nothing_is_nothing():
    inner = el("b", "<")
    assert el("p", inner, None, " & ", 3) == "<p><b>&lt;</b> &amp; 3</p>"
    assert joined([None, Markup("<i>"), "<i>"]) == "<i>&lt;i&gt;"


def test_attributes_are_named_as_html_has_them():
    said = el("div", class_="a", aria_label='"x"', hidden=True, lang=None, open=False)
    assert said == '<div class="a" aria-label="&quot;x&quot;" hidden></div>'
