"""What a function may be, what its prompts come to, and what is a good answer. No services."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.functions.definition import FunctionError, parse
from shared.functions.prompt import TemplateError, placeholders, render
from shared.functions.quality import assess
from shared.functions.schemas import UnusableAnswerError, read_answer

VARIANT = {"name": "short", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": None}
SCHEMA = {
    "type": "object",
    "required": ["insight"],
    "properties": {
        "insight": {"type": "string", "maxLength": 40},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
    },
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]+$"}},
}


def defined(**more):
    return parse({"name": "insight", "variants": [VARIANT], **more})


def test_what_is_left_out_has_a_default_and_the_same_has_the_same_digest():
    function = defined()
    assert (function.deadline_seconds, function.fallback, function.test) == (60, None, None)
    assert function.variant("short").prompt == "$query"
    assert function.digest == parse(function.model_dump(mode="json")).digest
    assert function.digest != defined(deadline_seconds=61).digest


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "No Spaces"}, "name: String should match"),
        ({"variants": []}, "variants: Tuple should have at least 1"),
        ({"variants": [VARIANT, VARIANT]}, "two variants are named 'short'"),
        ({"variants": [VARIANT | {"prompt": "cost: $ 5"}]}, "variants.0.prompt: a `$` must begin"),
        ({"variants": [VARIANT | {"model": "a\x1bb"}]}, "variants.0.model: must be a name"),
        ({"variants": [VARIANT | {"base_url": "ftp://x"}]}, "variants.0.base_url: must be"),
        ({"variants": [VARIANT | {"structured_output": True}]}, "needs a response_schema"),
        ({"fallback": "long"}, "fallback 'long' is no variant"),
        ({"deadline_seconds": 0}, "deadline_seconds: Input should be greater than 0"),
        ({"quality": {"min_characters": 9, "max_characters": 5}}, "max_characters must be"),
        ({"response_schema": {"type": "objekt"}}, "'objekt' is not valid under any"),
        ({"response_schema": {"$ref": "http://127.0.0.1:9/x"}}, "only references within"),
        ({"response_schema": {"pattern": "("}}, "no regular expression"),
        ({"response_schema": {"patternProperties": {}}}, "patternProperties is not allowed"),
        ({"response_schema": {"items": {"$schema": "x"}}}, "the schema.items: only $schema"),
        ({"description": "a\x00b"}, "holds a NUL character"),
        ({"response_schema": {"const": "\ud800"}}, "surrogate"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_place(more, said):
    with pytest.raises(FunctionError) as told:
        defined(**more)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_schema_that_nests_for_ever_is_refused_without_recursion():
    deep: dict[str, object] = {}
    for _ in range(400):
        deep = {"items": deep}
    with pytest.raises(FunctionError, match="at most 50 levels"):
        defined(response_schema=deep)


def test_a_prompt_holds_the_query_and_the_context():
    said = render("$query for ${customer}: $order, $$5", "Why?", {"customer": "Ann", "order": [1]})
    assert said == "Why? for Ann: [1], $5"
    assert placeholders("$query for ${customer}, $$x") == {"query", "customer"}


def test_what_the_context_lacks_is_named():
    with pytest.raises(TemplateError, match=r"needs customer, order in the context, which has a"):
        render("$query ${customer} $order", "q", {"a": 1})


@given(st.text(), st.dictionaries(st.sampled_from(["a", "b"]), st.text(), min_size=2))
def test_what_users_send_is_data_and_never_a_template(query, context):
    assert render("<$query|$a|$b>", query, context) == f"<{query}|{context['a']}|{context['b']}>"


def test_a_prompt_that_would_be_too_long_is_refused_before_it_is_made():
    with pytest.raises(TemplateError, match="more than 2,000,000 characters"):
        render("$query" * 10_000, "x" * 1_000_000, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "not one JSON value"),
        ('Here: {"insight": "x"}', "not one JSON value"),
        ('{"insight": NaN}', "not one JSON value"),
        ("[" * 100_000, "not one JSON value"),
        ("{}", "the answer: does not fit required"),
        ('{"insight": 5}', 'insight: does not fit type "string"'),
        ('{"insight": "x", "tags": ["a", "B"]}', "tags.1: does not fit pattern"),
        (json.dumps({"insight": "secret " * 9}), "insight: does not fit maxLength 40"),
        ('{"insight": "\\u0000"}', "cannot be stored"),
        ('{"insight": "\\ud800"}', "cannot be stored"),
        ('"' + "x" * 1_000_001 + '"', "longer than 1,000,000"),
    ],
)
def test_an_answer_that_does_not_fit_says_where_and_never_what(text, said):
    with pytest.raises(UnusableAnswerError) as told:
        read_answer(text, SCHEMA)
    assert said in str(told.value)
    assert "secret" not in str(told.value)


def test_an_answer_may_stand_in_a_fence_of_markdown():
    assert read_answer('```json\n{"insight": "x"}\n```', SCHEMA) == {"insight": "x"}


def test_a_pattern_that_takes_for_ever_is_given_up():
    schema = {"type": "string", "pattern": "^(a|aa|aaa)+$"}
    with pytest.raises(UnusableAnswerError, match="does not fit pattern"):
        read_answer(json.dumps("a" * 5_000 + "!"), schema)


@pytest.mark.parametrize("depth", [3, 11])
def test_a_schema_whose_alternatives_multiply_is_given_up(monkeypatch, depth):
    monkeypatch.setattr("shared.functions.schemas.SCHEMA_SECONDS", 0.1)
    node = {"anyOf": [{"properties": {"a": {"$ref": "#/$defs/node"}}, "required": ["b"]}] * 4}
    answer = "{}"
    for _ in range(depth):
        answer = f'{{"a": {answer}}}'
    said = "does not fit anyOf" if depth == 3 else "the schema takes longer than 0.1 s"
    with pytest.raises(UnusableAnswerError, match=said):
        read_answer(answer, {"$defs": {"node": node}, "$ref": "#/$defs/node"})


@pytest.mark.parametrize(
    ("items", "distinct"),
    [
        # JSON Schema 2020-12, 4.2.2: 1 is 1.0, and neither is true.
        ([1, True, 0, False, None, "1", [1], [True], {"a": 1}, {"a": True}], True),
        ([1, 1.0], False),
        ([[1, {"a": 2}], [1.0, {"a": 2}]], False),
        ([{"n": n} for n in range(5_000)], True),
    ],
)
def test_distinct_items_are_told_without_comparing_each_with_each(items, distinct):
    text = json.dumps(items)
    if distinct:
        assert read_answer(text, {"uniqueItems": True}) == items
    else:
        with pytest.raises(UnusableAnswerError, match="does not fit uniqueItems"):
            read_answer(text, {"uniqueItems": True})
    assert read_answer(text, {"uniqueItems": False}) == items


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"insight": "x", "confidence": 1e999}', "not one JSON value"),
        ('{"insight": "x", "more": ' + "[" * 200 + "]" * 200 + "}", "deeper than 100 levels"),
    ],
)
def test_an_answer_that_nobody_could_be_handed_is_refused(text, said):
    with pytest.raises(UnusableAnswerError, match=said):
        read_answer(text, SCHEMA)


def test_a_number_beyond_all_floats_is_no_multiple():
    with pytest.raises(UnusableAnswerError, match="cannot be applied"):
        read_answer("9" * 400, {"multipleOf": 0.1})


def test_quality_is_the_share_of_rules_that_an_answer_keeps():
    function = defined(
        response_schema=SCHEMA,
        quality={"max_characters": 60, "must_contain": ["INSIGHT"], "must_not_contain": ["sorry"]},
    )
    good = assess(function, '{"insight": "x", "confidence": 0.7}')
    assert (good.quality(), good.confidence, good.problems) == (1, 0.7, ())
    assert good.data == {"insight": "x", "confidence": 0.7}
    # Of six rules, it breaks three: too long, sorry, and the schema.
    bad = assess(function, '{"insight": 5, "note": "' + "sorry " * 10 + '"}')
    assert (bad.quality(), bad.fits, bad.confidence, bad.data) == (0.5, False, None, None)
    assert [problem[:8] for problem in bad.problems] == ["86 chara", "it holds", "schema: "]


def test_an_empty_answer_is_never_good_and_a_cut_one_neither():
    empty = assess(defined(), "  \n")
    assert (empty.quality(), empty.fits, empty.problems) == (0.5, False, ("it is empty",))
    cut = assess(defined(), "An answer that", cut_off=True)
    assert (cut.quality(), cut.fits, cut.good) == (0.5, True, False)


@pytest.mark.parametrize("said", [True, "0.5", -0.1, 1.5, None, [1]])
def test_a_confidence_that_is_none_is_not_known(said):
    function = defined(response_schema={"type": "object"})
    assert assess(function, json.dumps({"confidence": said})).confidence is None
