"""The one error of this package.

FilterError(ValueError)   a filter or an order that can't be read; says where, and what was expected there
"""

from __future__ import annotations

__all__ = ["FilterError"]

_CONTEXT = 60
"""Characters of the text shown on either side of the place."""


class FilterError(ValueError):
    """A filter or an order can't be read.

    Attributes:
        message: What is wrong, in one sentence, without the place.
        text: The text that was read. column: 1-based place in it, None where the whole is meant.
        expected: What could have stood there, if that is known.

    As a string it is the message, and below it the text with a caret under the place.
    """

    def __init__(
        self, message: str, text: str = "", *, column: int | None = None, expected: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.text = text
        self.column = column
        self.expected = expected

    def __str__(self) -> str:
        return self.sentence if self.column is None else f"{self.sentence}\n{self.pointed()}"

    @property
    def sentence(self) -> str:
        """The message and what was expected."""
        return self.message if self.expected is None else f"{self.message}; expected {self.expected}"

    def pointed(self) -> str:
        """The text around the place, and a caret below it."""
        if self.column is None:
            return self.text
        at = self.column - 1
        start, end = max(0, at - _CONTEXT), min(len(self.text), at + _CONTEXT)
        before = "…" if start else ""
        after = "…" if end < len(self.text) else ""
        # Whatever would move the caret away from its place is shown as a blank.
        shown = "".join(c if c.isprintable() else " " for c in self.text[start:end])
        return f"  {before}{shown}{after}\n  {' ' * (len(before) + at - start)}^ column {self.column}"
