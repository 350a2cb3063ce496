"""Filters and orders: what they mean, and what they are refused with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.search import (
    EVERYTHING,
    EXPERIMENTS,
    MLFLOW_EXPERIMENTS,
    MLFLOW_RUNS,
    RUNS,
    Dialect,
    FilterError,
    parse_field,
    parse_filter,
    parse_order,
)
from ingest.search.nodes import And, Comparison, Condition, Field, IsNan, IsNull, Not, Or, OrderBy
from ingest.search.runs import RunSearch, list_runs

DIALECTS = (RUNS, MLFLOW_RUNS, EXPERIMENTS, MLFLOW_EXPERIMENTS)
LOSS = Field("metric", "loss")
LR = Field("param", "lr")
SMALL = Comparison(LOSS, "<", 1)
IS_A = Comparison(LR, "=", "a")


def test_an_empty_filter_finds_everything() -> None:
    assert parse_filter("  \n", RUNS) == parse_filter("", MLFLOW_RUNS) == EVERYTHING


@pytest.mark.parametrize("dialect", [RUNS, MLFLOW_RUNS], ids=["ours", "mlflow"])
@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("metrics.loss < 1", SMALL),
        ("metric.loss<1", SMALL),
        ("`metrics`.`loss` < 1 AND", SMALL),
        ("metrics.loss < 1 and parameters.lr = 'a'", And((SMALL, IS_A))),
        ("metrics.a.b.c >= -.5", Comparison(Field("metric", "a.b.c"), ">=", -0.5)),
        ('metrics."val acc"!=1e-3', Comparison(Field("metric", "val acc"), "!=", 0.001)),
        ("params.lr like '%x'", Comparison(LR, "LIKE", "%x")),
        ('tags.`a b` ILIKE "it\'s"', Comparison(Field("tag", "a b"), "ILIKE", "it's")),
        ("params.lr IS NULL", IsNull(LR)),
        ("tags.t is not null", Not(IsNull(Field("tag", "t")))),
        ("`Run name` = 'r'", Comparison(Field("attribute", "run_name"), "=", "r")),
        ("run.status != 'FAILED'", Comparison(Field("attribute", "status"), "!=", "FAILED")),
        ("created > 5", Comparison(Field("attribute", "start_time"), ">", 5)),
        ("run_id NOT IN ('a', 'b')", Comparison(Field("attribute", "run_id"), "NOT IN", ("a", "b"))),
        ("datasets.name in ('a')", Comparison(Field("dataset", "name"), "IN", ("a",))),
    ],
)
def test_mlflows_grammar_means_the_same_in_both_dialects(
    text: str, meaning: Condition, dialect: Dialect
) -> None:
    assert parse_filter(text, dialect) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("metrics.loss < 1 OR params.lr = 'a' AND metrics.loss < 1", Or((SMALL, And((IS_A, SMALL))))),
        (
            "(metrics.loss < 1 OR params.lr == 'a') AND NOT NOT metrics.loss < 1",
            And((Or((SMALL, IS_A)), Not(Not(SMALL)))),
        ),
        ("min(metrics.loss) < 1", Comparison(Field("metric", "loss", "min"), "<", 1)),
        ('ARGMAX( metrics."a(b" ) >= 2', Comparison(Field("metric", "a(b", "argmax"), ">=", 2)),
        ("metrics.loss.min < 1", Comparison(Field("metric", "loss.min"), "<", 1)),
        ("metrics.train/loss-1:a<-1", Comparison(Field("metric", "train/loss-1:a"), "<", -1)),
        ("params.lr <= 0.1", Comparison(LR, "<=", 0.1)),
        ("params.lr !~ '^a'", Comparison(LR, "NOT RLIKE", "^a")),
        ("params.lr NOT ILIKE 'a'", Comparison(LR, "NOT ILIKE", "a")),
        ("params.lr = 'it''s'", Comparison(LR, "=", "it's")),
        ("metrics.loss IS NOT NAN", Not(IsNan(LOSS))),
        ("status IN ('FAILED')", Comparison(Field("attribute", "status"), "IN", ("FAILED",))),
        ("experiment_id = 7", Comparison(Field("attribute", "experiment_id"), "=", 7)),
        ('params."a""b" = \'\'', Comparison(Field("param", 'a"b'), "=", "")),
    ],
)
def test_our_dialect_adds_logic_summaries_and_operators(text: str, meaning: Condition) -> None:
    assert parse_filter(text, RUNS) == meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("metrics.a > 1 OR params.b = 'x'", "Invalid clause(s) in filter string: 'OR'"),
        ("metrics.a > 1 AND (params.b = 'x')", "Invalid clause(s) in filter string"),
        ("not metrics.a > 1", "Invalid attribute key 'not'"),
        ("`metrics.a > 1", "Invalid clause(s) in filter string"),
        ("metrics.a >", "Invalid clause(s) in filter string: 'metrics.a >'"),
        ("metrics.a > 1 metrics.b > 1", "Invalid clause(s) in filter string: 'metrics.b'"),
        ("metrics.a > 1; metrics.b > 1", "Search filter contained multiple expression"),
        (
            "m.a > 1",
            "Invalid entity type 'm'. Valid values are ['metric', 'parameter', 'tag', 'attribute', 'dataset']",
        ),
        ("METRICS.a > 1", "Invalid entity type 'METRICS'"),
        ("loss > 1", "Invalid attribute key 'loss' specified. Valid keys are '"),
        ("metrics.a ~ 1", "Invalid comparator '~' not one of '{"),
        ("params.a > 'x'", "Invalid comparator '>' not one of '{"),
        ("metrics.a = '1'", "Expected numeric value type for metric. Found '1'"),
        ("params.a = 0.1", "Expected a quoted string value for parameter (e.g. 'my-value'). Got value 0.1"),
        ("tags.a = 0.1", "Expected a quoted string value for tag (e.g. 'my-value'). Got value 0.1"),
        (
            "status IN ('a')",
            "Only ['run_id'] attributes support comparison with a list of quoted string values.",
        ),
        ("run_id IN ()", "non-empty list"),
        ("1.0 > metrics.a", "Expected 'Identifier' found"),
        ("metrics.a IS NULL", "IS NULL / IS NOT NULL is only supported for tags and params"),
    ],
)
def test_mlflows_dialect_refuses_in_mlflows_words(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text, MLFLOW_RUNS)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("metrics.loss <", 15, "a value"),
        ("metrics.loss < 1 or", 20, "a field"),
        ("(metrics.loss < 1", 18, "closing bracket"),
        ("metrics.loss < 1 params.a = 'x'", 18, "AND, OR or the end"),
        ("foo(metrics.loss) < 1", 1, "argmin"),
        ("metrics.loss ! 1", 14, None),
        ("params.lr = 'a", 13, None),
        ("params.lr < 'a'", 13, None),
        ("metrics.a = 1 § 2", 15, None),
    ],
)
def test_our_dialect_points_at_the_place(text: str, column: int, expected: str | None) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(text, RUNS)
    assert caught.value.column == column
    assert expected is None or expected in str(caught.value)
    assert str(caught.value).endswith(f"{' ' * (column - 1)}^ column {column}")


def test_a_long_filter_is_shown_around_the_place_only() -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter("metrics.a < 1 AND " * 50 + "metrics.b <", RUNS)
    _, shown, caret = str(caught.value).split("\n")
    assert len(shown) < 140
    assert shown[caret.index("^") - 1] == "<"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1000,
        "NOT " * 1000 + "metrics.a < 1",
        " AND ".join(["metrics.a < 1"] * 1000),
        "params.a = '\0'",
        "params.a = '\ud800'",
    ],
)
def test_there_are_limits(text: str) -> None:
    with pytest.raises(FilterError):
        parse_filter(text, RUNS)


def test_an_order_has_a_direction_and_no_field_twice() -> None:
    assert parse_order(["metrics.loss desc", "params.`a b` ASC", "start_time"], MLFLOW_RUNS) == (
        OrderBy(LOSS, descending=True),
        OrderBy(Field("param", "a b")),
        OrderBy(Field("attribute", "start_time")),
    )
    assert parse_order(["min(metrics.loss) DESC"], RUNS) == (
        OrderBy(Field("metric", "loss", "min"), descending=True),
    )


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        (["metrics.loss up"], "Invalid ordering key in order_by clause 'metrics.loss up'."),
        (["metrics.loss, metrics.a"], "Invalid order_by clause"),
        ([""], "Invalid order_by clause"),
        (["loss"], "Invalid attribute key 'loss'"),
        (["m.loss"], "Invalid entity type 'm'"),
        (["`run name`"], "Invalid attribute key 'run name'"),
        (["metrics.a", "metric.a DESC"], "`order_by` contains duplicate fields"),
    ],
)
def test_an_order_is_refused_in_mlflows_words(clauses: list[str], message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_order(clauses, MLFLOW_RUNS)
    assert message in caught.value.message


def test_experiments_have_attributes_of_their_own() -> None:
    assert parse_filter("experiment_id IN ('1', '2') AND tags.a IS NULL", MLFLOW_EXPERIMENTS) == And(
        (Comparison(Field("attribute", "experiment_id"), "IN", ("1", "2")), IsNull(Field("tag", "a")))
    )
    with pytest.raises(FilterError, match="Invalid experiment ID 'x'"):
        parse_filter("experiment_id = 'x'", MLFLOW_EXPERIMENTS)
    with pytest.raises(FilterError, match="Valid entity types are"):
        parse_filter("params.x = 'y'", MLFLOW_EXPERIMENTS)


def test_a_field_stands_alone() -> None:
    assert parse_field("mean(metrics.loss)", RUNS) == Field("metric", "loss", "mean")
    with pytest.raises(FilterError):
        parse_field("metrics.loss < 1", RUNS)


WORDS = st.sampled_from(
    ["metrics.a", "params.b", "tags.`c d`", "status", "min(", "(", ")", "AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "=", "<",
     "!=", "~", "1", "-.5e3", "'x'", '"y', "`", ",", ";", "metrics", ".", "datasets.name", "ASC", "DESC", "\\", "%", "ü", "\x00"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=8).map("".join)
)


@given(text=TEXTS, dialect=st.sampled_from(DIALECTS))
def test_any_text_is_read_or_refused_with_the_one_error(text: str, dialect: Dialect) -> None:
    for read in (
        lambda: parse_filter(text, dialect),
        lambda: parse_order([text], dialect),
        lambda: parse_field(text, dialect),
    ):
        try:
            read()
        except FilterError as error:
            assert error.message
            assert str(error)


@given(text=st.lists(WORDS, max_size=12).map(" ".join))
def test_whatever_mlflow_reads_we_read_the_same(text: str) -> None:
    try:
        meaning = parse_filter(text, MLFLOW_RUNS)
    except FilterError:
        return
    assert parse_filter(text, RUNS) == meaning


@given(key=st.text(min_size=1, max_size=20).filter(lambda key: "\0" not in key), value=st.text(max_size=20))
def test_no_text_of_a_user_becomes_sql(key: str, value: str) -> None:
    """Whatever a key or a value holds, the statement is the same, and the texts are among its parameters."""

    def statement(key: str, value: str) -> tuple[str, tuple[object, ...]]:
        field = Field("param", key)
        search = RunSearch(Comparison(field, "=", value), (OrderBy(field),))
        page = list_runs(search).page(10, None)
        return page.sql, page.values

    sql, values = statement(key, value)
    assert sql == statement("k", "v")[0]
    assert key in values
    assert value in values


def examples() -> list[str]:
    text = (Path(__file__).parents[3] / "docs" / "search.md").read_text("utf-8")
    return text.split("```filter\n")[1].split("```")[0].splitlines()


@pytest.mark.parametrize("text", examples())
def test_the_examples_of_the_documentation_are_read(text: str) -> None:
    if "arithmetic" in text:
        with pytest.raises(FilterError, match="column 18"):
            parse_filter(text, RUNS)
    else:
        assert parse_filter(text, RUNS) != EVERYTHING
