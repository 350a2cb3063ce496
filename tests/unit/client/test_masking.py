"""A secret never leaves the process in a tag or an artifact: whatever it is made of, wherever it stands."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ingest_client._masking import (
    MASK,
    MAX_LINE_CHARS,
    is_secret_name,
    mask_arguments,
    mask_environment,
    mask_source,
    mask_text,
    secrets_of,
)

names = st.sampled_from(
    ["TOKEN", "HF_TOKEN", "db_password", "wandbApiKey", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "my.api-key", "auth", "githubtoken"]
)  # fmt: skip
innocent = st.sampled_from(["PATH", "lr", "model.name", "OMP_NUM_THREADS", "seed", "tokenizer"])
# The mask itself is in every output, and a secret of stars can't be told from it.
anything = st.text(
    st.characters(exclude_characters="*\0", exclude_categories=["Cs"]), min_size=8, max_size=60
)
words = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_characters="*\"'"), min_size=8, max_size=60)  # fmt: skip
fillers = st.text(st.characters(exclude_characters="*\0", exclude_categories=["Cs"]), max_size=30)


@given(names, anything, st.dictionaries(innocent, st.tuples(fillers, fillers), max_size=4))
def test_the_value_of_a_secret_variable_is_in_no_variable(
    name: str, secret: str, others: dict[str, tuple[str, str]]
):
    env = {name: secret} | {other: before + secret + after for other, (before, after) in others.items()}
    masked = mask_environment(env)
    assert masked.keys() == env.keys()
    assert not [value for value in masked.values() if secret in value]


@given(names, anything, fillers, fillers, st.sampled_from(["{n}={s}", "--{n}={s}", "-{n}={s}", "+{n}={s}"]))
def test_a_secret_argument_with_its_name_is_masked(
    name: str, secret: str, before: str, after: str, form: str
):
    assume(secret not in before and secret not in after and secret not in name)
    assume(not before.startswith("-"))
    masked = mask_arguments([before, form.format(n=name, s=secret), after])
    assert not [argument for argument in masked if secret in argument]


@given(names, st.lists(anything, min_size=1, max_size=4))
def test_what_follows_a_secret_flag_is_masked_whatever_it_looks_like(name: str, secrets: list[str]):
    arguments = ["train.py"]
    for secret in secrets:
        arguments += [f"--{name}", secret]
    masked = mask_arguments(arguments)
    assert masked == ["train.py", *(word for _ in secrets for word in (f"--{name}", MASK))]


@given(st.lists(anything, min_size=1, max_size=4))
def test_flags_that_follow_flags_hide_nothing(secrets: list[str]):
    """`--token --password x`: the second may be a value, or a flag with a value of its own."""
    masked = mask_arguments(["--token", "--password", secrets[0]])
    assert masked[2] == MASK


@given(names, anything, st.lists(st.tuples(fillers, fillers), min_size=1, max_size=4))
def test_a_secret_of_the_environment_is_in_no_command_line(
    name: str, secret: str, around: list[tuple[str, str]]
):
    arguments = [before + secret + after for before, after in around]
    for masked in mask_arguments(arguments, secrets_of({name: secret})):
        assert secret not in masked
        assert secret not in shlex.join([masked])


@given(
    st.sampled_from(["postgres", "https", "redis", "git+ssh", "x"]),
    st.sampled_from(["", "me", "me@mail"]),
    words,
)
def test_no_password_of_a_url_is_left(scheme: str, user: str, password: str):
    url = f"{scheme}://{user}:{password}@host:1/db"
    assume(password not in f"{scheme}://{MASK}@host:1/db")
    for text in (url, f"url={url}", f"see {url} for more", f'"{url}"'):
        assert password not in mask_text(text)
        assert password not in mask_source(f"+{text}\n-{text}")
        assert password not in mask_arguments([text])[0]
        assert password not in mask_environment({"DATABASE": text})["DATABASE"]


@given(
    names,
    words,
    st.sampled_from(["?{n}={s}", "x {n}: {s}", '{{"{n}": "{s}"}}', "run --{n} {s}", "{n} = '{s}'"]),
)
def test_a_secret_inside_a_text_is_masked(name: str, secret: str, form: str):
    text = form.format(n=name, s=secret)
    assume(secret not in form.format(n=name, s=MASK))
    assume(not secret.endswith("\\"))
    assert secret not in mask_text(text)


@given(st.text(max_size=300), st.lists(st.text(min_size=6, max_size=20), max_size=3))
def test_any_text_can_be_masked(text: str, secrets: list[str]):
    mask_text(text, secrets)
    assert mask_source(text).count("\n") == text.count("\n")
    mask_arguments(text.split(), secrets)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_0123456789abcdefghijABCDEFGHIJ012345", "hf_abcdefghijklmnopqrstuvwx", "sk-proj-0123456789abcdefghij", "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "Authorization: Basic dXNlcjpwYXNzd29yZA==", "curl -H 'Authorization: Bearer abcdef12'",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nMIIabc",
    ],
)  # fmt: skip
def test_well_known_shapes_are_secrets_without_a_name(text: str):
    secret = {"A": "dXNlcjp", "c": "abcdef12", "-": "MIIabc"}.get(text[0] if text[:2] != "AK" else "", text)
    assert secret not in mask_text(f"x {text} y")
    assert MASK in mask_text(text)


def test_what_is_no_secret_stays_readable():
    arguments = [
        "python",
        "train.py",
        "--lr=0.1",
        "--tokenizer",
        "bert",
        "--max-tokens",
        "512",
        "max_tokens=8",
        "s3://bucket/a@v1",
        "-v",
    ]
    assert mask_arguments(arguments) == arguments
    assert mask_text("ssh://git@github.com/a/b.git") == "ssh://git@github.com/a/b.git"
    assert mask_environment({"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "4"}) == {
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "4",
    }
    assert not [
        name
        for name in ("PATH", "monkey", "tokenizer", "author", "pin_memory", "passes")
        if is_secret_name(name)
    ]


def test_a_diff_of_ordinary_code_stays_a_diff():
    diff = '+key = jax.random.key(0)\n+token = tokenizer(text)\n-metric = f(key="validation")\n+pad_token = "[PAD]"\n'
    assert mask_source(diff) == diff
    assert "correcthorse" not in mask_source('+password = "correcthorse"\n')
    assert "abc123def456" not in mask_source("+api = Client(api_key='abc123def456')\n")
    private = "+-----BEGIN PRIVATE KEY-----\n+MIIabc\n+-----END PRIVATE KEY-----\n after\n"
    assert mask_source(private) == f"+{MASK}\n+{MASK}\n+{MASK}\n after\n"


def test_a_line_of_data_is_left_out_of_a_diff():
    assert len(mask_source("+" + "x" * (MAX_LINE_CHARS + 1))) < 100
