"""Reads filters and orders: recursive descent over the tokens, into `nodes`, with the tables of a `Dialect`.

    condition  = all { OR all }                              brackets, OR and NOT only outside MLflow's dialect
    all        = one { AND one }
    one        = NOT one | "(" condition ")" | clause
    clause     = field operator value
               | field [NOT] IN "(" string { "," string } ")"
               | field [NOT] LIKE|ILIKE|RLIKE string
               | field IS [NOT] NULL | field IS [NOT] NAN
    field      = name | summary "(" name ")"                 summary: see SUMMARIES
    order      = field [ASC|DESC]

A summary is written as a function, `min(metrics.loss)`, because a key may hold any dots: `metrics.loss.min` is the metric
called "loss.min". Wordings of refusals are MLflow's where its contract has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn, get_args

from ingest.search.dialect import Attribute, Dialect, Entity, ValueType
from ingest.search.errors import FilterError
from ingest.search.nodes import (
    And,
    Comparison,
    Condition,
    Field,
    IsNan,
    IsNull,
    Not,
    Or,
    OrderBy,
    Summary,
)
from ingest.search.tokens import Token, tokenize

__all__ = ["EVERYTHING", "SUMMARIES", "parse_field", "parse_filter", "parse_order"]

EVERYTHING: Final = And(())
SUMMARIES: Final[dict[str, Summary]] = {name: name for name in get_args(Summary)}
"""Functions over a metric: what all its points amount to. min, max, sum and mean are over finite values; argmin and
argmax are the steps of the extremes; last is by (step, time, value), first by (step, time)."""

MAX_DEPTH: Final = 50
"""Brackets and NOTs within each other. The parser and the compiler use Python's stack."""
MAX_CLAUSES: Final = 200
"""Each may look at another column, and a statement's planning time grows with them."""
MAX_LIST: Final = 20_000
MAX_ORDER_KEYS: Final = 10
_SPELLINGS: Final = {"==": "=", "<>": "!=", "~": "RLIKE", "!~": "NOT RLIKE"}


def parse_filter(text: str, dialect: Dialect) -> Condition:
    """The condition that the filter states; `EVERYTHING` for an empty one.

    Raises:
        FilterError: It is not of this dialect.
    """
    tokens = tokenize(text, strict=dialect.strict)
    return _Parser(text, tokens, dialect).whole_filter()


def parse_order(clauses: Sequence[str], dialect: Dialect) -> tuple[OrderBy, ...]:
    """The keys of an order, one from each clause such as `metrics.loss DESC`.

    Raises:
        FilterError: A clause is not of this dialect, or a field comes twice.
    """
    if len(clauses) > MAX_ORDER_KEYS:
        raise FilterError(f"an order has at most {MAX_ORDER_KEYS} keys, not {len(clauses)}")
    keys = tuple(_order_key(clause, dialect) for clause in clauses)
    if len({key.field for key in keys}) < len(keys):
        raise FilterError("`order_by` contains duplicate fields", ", ".join(clauses))
    return keys


def parse_field(text: str, dialect: Dialect) -> Field:
    """One field by itself, as in a list of columns.

    Raises:
        FilterError: It is none.
    """
    parser = _Parser(text, tokenize(text, strict=dialect.strict), dialect)
    found, _ = parser.field()
    if parser.peek().kind != "end":
        parser.refuse("the end of the field")
    return found


def _order_key(clause: str, dialect: Dialect) -> OrderBy:
    unreadable = f"Invalid order_by clause '{clause}'. Could not be parsed."
    try:
        parser = _Parser(clause, tokenize(clause, strict=dialect.strict), dialect, in_order=True)
    except FilterError as error:
        raise FilterError(unreadable, clause, column=error.column) if dialect.strict else error from error
    if parser.peek().kind != "name":
        raise FilterError(unreadable, clause, column=parser.peek().start + 1)
    found, _ = parser.field()
    descending = parser.take_word("DESC")
    if not descending and not parser.take_word("ASC") and parser.peek().kind == "name":
        raise FilterError(
            f"Invalid ordering key in order_by clause '{clause}'.",
            clause,
            column=parser.peek().start + 1,
            expected="ASC or DESC",
        )
    if parser.peek().kind != "end":
        raise FilterError(unreadable, clause, column=parser.peek().start + 1)
    return OrderBy(found, descending)


class _Parser:
    """One walk over the tokens."""

    def __init__(self, text: str, tokens: list[Token], dialect: Dialect, *, in_order: bool = False) -> None:
        self.text = text
        self.tokens = tokens
        self.dialect = dialect
        self.in_order = in_order
        self.at = 0
        self.clauses = 0

    # --- tokens

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.peek()
        if token.kind != "end":
            self.at += 1
        return token

    def take_word(self, word: str) -> bool:
        if self.peek().is_word(word):
            self.at += 1
            return True
        return False

    def next_is_word(self, *words: str) -> bool:
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        return any(following.is_word(word) for word in words)

    def refuse(self, expected: str, token: Token | None = None) -> NoReturn:
        """What stands here does not belong here."""
        token = token or self.peek()
        if self.dialect.strict:
            raise FilterError(
                f"Invalid clause(s) in filter string: '{token.raw or self.text.strip()}'", self.text
            )
        found = "the end" if token.kind == "end" else token.raw[:40]
        raise FilterError(f"found {found}", self.text, column=token.start + 1, expected=expected)

    def wrong(self, message: str, token: Token, *, expected: str | None = None) -> FilterError:
        return FilterError(message, self.text, column=token.start + 1, expected=expected)

    # --- conditions

    def whole_filter(self) -> Condition:
        if self.peek().kind == "end":
            return EVERYTHING
        if self.dialect.strict:
            return self.strict_filter()
        condition = self.any_of(0)
        if self.peek().kind != "end":
            self.refuse("AND, OR or the end")
        return condition

    def strict_filter(self) -> Condition:
        """Clauses joined by AND; a trailing AND is ignored. MLflow contract, section 7."""
        if any(token.kind == ";" for token in self.tokens[:-2]):
            raise FilterError(
                f"Search filter contained multiple expression '{self.text}'. Provide AND-ed expression list.",
                self.text,
            )
        parts = [self.clause()]
        while self.peek().kind != "end":
            if not self.take_word("AND"):
                self.refuse("AND")
            if self.peek().kind != "end":
                parts.append(self.clause())
        return _all(parts)

    def any_of(self, depth: int) -> Condition:
        parts = [self.all_of(depth)]
        while self.take_word("OR"):
            parts.append(self.all_of(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all_of(self, depth: int) -> Condition:
        parts = [self.one(depth)]
        while self.take_word("AND"):
            if self.peek().kind == "end":  # MLflow ignores a trailing AND, and so do we
                break
            parts.append(self.one(depth))
        return _all(parts)

    def one(self, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise self.wrong(f"brackets and NOTs may lie {MAX_DEPTH} deep at most", self.peek())
        if self.take_word("NOT"):
            return Not(self.one(depth + 1))
        if self.peek().kind == "(":
            self.take()
            condition = self.any_of(depth + 1)
            if self.peek().kind != ")":
                self.refuse("AND, OR or a closing bracket")
            self.take()
            return condition
        return self.clause()

    def clause(self) -> Condition:
        self.clauses += 1
        if self.clauses > MAX_CLAUSES:
            raise self.wrong(f"a filter has at most {MAX_CLAUSES} comparisons", self.peek())
        start = self.peek()
        if start.kind in {"string", "number"} and self.dialect.strict:
            raise FilterError(
                f"Invalid comparison clause. Expected 'Identifier' found '{start.raw}'", self.text
            )
        field, about = self.field()
        if self.take_word("IS"):
            return self.null_test(field, about, start)
        operator, token = self.operator()
        if operator in {"IN", "NOT IN"}:
            self.check_operator(operator, token, about, is_list=True)
            values = self.list_of_strings()
            if about.type == "id":
                for text in values:
                    self.integer(text, token)
            return Comparison(field, operator, values)
        value = self.value(operator, about, field)
        self.check_operator(operator, token, about)
        return Comparison(field, operator, value)

    def null_test(self, field: Field, about: Entity | Attribute, start: Token) -> Condition:
        negated = self.take_word("NOT")
        test: Condition
        if self.take_word("NULL"):
            if self.dialect.strict and not (isinstance(about, Entity) and about.has_null):
                kinds = "tags" if len(self.dialect.entities) == 1 else "tags and params"
                raise self.wrong(
                    f"IS NULL / IS NOT NULL is only supported for {kinds}, not for '{field.kind}' '{field.name}'",
                    start,
                )
            if field.kind == "dataset":
                raise self.wrong("IS NULL does not apply to datasets", start)
            test = IsNull(field)
        elif not self.dialect.strict and self.take_word("NAN"):
            if field.kind != "metric":
                raise self.wrong("IS NAN applies to metrics only", start)
            test = IsNan(field)
        else:
            self.refuse("NULL" if self.dialect.strict else "NULL or NAN")
        return Not(test) if negated else test

    # --- fields

    def field(self) -> tuple[Field, Entity | Attribute]:
        """A field, and what the dialect says about it."""
        token = self.take()
        if token.kind != "name":
            self.refuse("a field such as metrics.loss, params.lr, tags.team or status", token)
        if self.peek().kind == "(" and not self.dialect.strict and token.type is None:
            return self.summary(token)
        return self.named(token)

    def summary(self, function: Token) -> tuple[Field, Entity | Attribute]:
        summary = SUMMARIES.get(function.value.lower())
        if summary is None:
            raise self.wrong(
                f"there is no function {function.raw[:40]}", function, expected=", ".join(SUMMARIES)
            )
        self.take()
        token = self.take()
        if token.kind != "name":
            self.refuse("a metric", token)
        field, about = self.named(token)
        if field.kind != "metric":
            raise self.wrong(f"{function.raw} applies to metrics only", token)
        if self.peek().kind != ")":
            self.refuse("a closing bracket")
        self.take()
        return Field("metric", field.name, summary), about

    def named(self, token: Token) -> tuple[Field, Entity | Attribute]:
        dialect = self.dialect
        if token.type is None or token.type in dialect.attribute_names:
            attribute = dialect.attribute(token.value)
            if attribute is None or (self.in_order and token.value in attribute.only_filters):
                keys = "', '".join(dialect.attribute_keys)
                raise self.wrong(
                    f"Invalid attribute key '{token.value}' specified. Valid keys are '{keys}'", token
                )
            return Field("attribute", attribute.name), attribute
        entity = dialect.entity(token.type)
        if entity is None:
            raise self.wrong(f"Invalid entity type '{token.type}'. {dialect.unknown_entity}", token)
        if entity.keys is not None and token.value not in entity.keys:
            raise self.wrong(
                f"Invalid {entity.label} key '{token.value}' specified. Valid keys are '{', '.join(entity.keys)}'",
                token,
            )
        if entity.kind == "dataset" and self.in_order:
            raise self.wrong("runs can't be ordered by their datasets", token)
        return Field(entity.kind, token.value), entity

    # --- operators and values

    def operator(self) -> tuple[str, Token]:
        token = self.take()
        if token.kind == "operator":
            spelling = token.raw if self.dialect.strict else _SPELLINGS.get(token.raw, token.raw)
            return spelling, token
        negated = ""
        if token.is_word("NOT"):
            negated, word = "NOT ", self.take()
        else:
            word = token
        for operator in ("IN", "LIKE", "ILIKE", "RLIKE"):
            if word.is_word(operator):
                return negated + operator, token
        return self.refuse("an operator such as =, !=, <, >, LIKE, IN or IS NULL", token)

    def check_operator(
        self, operator: str, token: Token, about: Entity | Attribute, *, is_list: bool = False
    ) -> None:
        if operator in about.operators:
            return
        if isinstance(about, Entity) and about.takes_numbers and operator in {"<", "<=", ">", ">="}:
            return  # value() has seen to it that a number follows
        if is_list and isinstance(about, Attribute):
            raise self.wrong(
                f"Only {self.dialect.list_attributes} attributes support comparison with a list of "
                "quoted string values.",
                token,
            )
        valid = "{" + ", ".join(f"'{o}'" for o in about.operators) + "}"
        raise self.wrong(f"Invalid comparator '{operator}' not one of '{valid}'", token)

    def value(self, operator: str, about: Entity | Attribute, field: Field) -> str | int | float:
        token = self.take()
        if token.kind not in {"string", "number", "name", "("}:
            self.refuse("a value", token)
        read: Callable[[], str | int | float | None] = {
            "number": lambda: _number(token.raw) if token.kind == "number" else None,
            "text": lambda: token.value if token.kind == "string" else None,
            "id": lambda: self.id_value(token),
        }[about.type]
        value = read()
        if value is None and token.kind == "number" and isinstance(about, Entity) and about.takes_numbers:
            if "LIKE" in operator:
                raise self.wrong(f"{operator} needs a quoted text", token)
            return _number(token.raw)
        if value is None:
            raise self.wrong(_expected_value(about, about.type, token, field), token)
        if isinstance(about, Entity) and about.takes_numbers and operator in {"<", "<=", ">", ">="}:
            raise self.wrong(f"{operator} compares a {about.label} with a number, not with a text", token)
        return value

    def id_value(self, token: Token) -> int | None:
        if token.kind == "string":
            return self.integer(token.value, token)
        if token.kind == "number" and not self.dialect.strict:
            number = _number(token.raw)
            return number if isinstance(number, int) else None
        return None

    def integer(self, text: str, token: Token) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
            raise self.wrong(
                f"Invalid experiment ID '{text[:40]}'. Experiment ID must be a valid integer.", token
            )
        return int(text)

    def list_of_strings(self) -> tuple[str, ...]:
        opening = self.take()
        if opening.kind != "(":
            self.refuse("a list such as ('a', 'b')", opening)
        values: list[str] = []
        while self.peek().kind != ")":
            token = self.take()
            if token.kind != "string":
                raise self.wrong(
                    "While parsing a list in the query, expected string value, punctuation, or whitespace, "
                    f"but got different type in list: {token.raw[:40] or 'the end'}",
                    token,
                )
            values.append(token.value)
            if self.peek().kind == ",":
                self.take()
            elif self.peek().kind != ")":
                self.refuse("a comma or a closing bracket")
        self.take()
        if not values:
            raise self.wrong(
                "While parsing a list in the query, expected a non-empty list of string values, but got empty list",
                opening,
            )
        if len(values) > MAX_LIST:
            raise self.wrong(f"a list has at most {MAX_LIST} values", opening)
        return tuple(values)


def _all(parts: list[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _number(raw: str) -> int | float:
    is_integer = raw.lstrip("+-").isdigit() and len(raw) <= 40
    return int(raw) if is_integer else float(raw)


def _expected_value(about: Entity | Attribute, kind: ValueType, token: Token, field: Field) -> str:
    """What kind of value belongs here, in MLflow's words."""
    if kind == "number":
        if isinstance(about, Attribute):
            return f"Expected numeric value type for numeric attribute: {field.name}. Found {token.raw}"
        return f"Expected numeric value type for {about.label}. Found {token.raw}"
    if isinstance(about, Attribute):
        return f"Expected a quoted string value for attributes. Got value {token.raw}"
    if about.kind == "dataset":
        return f"Expected a quoted string value for dataset attributes. Got value {token.raw}"
    return f"Expected a quoted string value for {about.label} (e.g. 'my-value'). Got value {token.raw}"
