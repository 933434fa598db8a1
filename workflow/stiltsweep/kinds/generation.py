"""Generation: a text is read and another is written. Only models that write text have a form."""

from __future__ import annotations

from ..records import Row
from .text2text import TextForm, fill


class GenerationText(TextForm):
    """The first of the references, after the text; whatever is written is the prediction."""

    def source(self, row: Row) -> str:
        """Fill the task's template; without one the text is read as it is."""
        return fill(self.meta.text2text.get("template", "{text}"), row)

    def target(self, row: Row) -> str:
        """Return the first reference."""
        return str(row["references"][0])

    def gives_way(self, row: Row, source: str) -> list[tuple[int, int]]:
        """The text, from its end: what a template asks for behind it stays."""
        start = source.find(row["text"].strip())
        return [] if start < 0 else [(start, start + len(row["text"].strip()))]

    def parse(self, row: Row, text: str) -> str:
        """Return what was written."""
        return text.strip()
