"""Every kind of criterion, met and not met, in a real Chromium."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.evaluation.protocol import Answer, Goto, Outcome, Wait

SHOP = {
    "files": {
        "index.html": """<!doctype html><title>Shop</title>
            <button onclick="document.querySelector('#total').textContent = '3  items'">Add</button>
            <p id=total>0 items</p>
            <p class=note hidden>secret</p>
            <input id=name value="Ada"><select><option>tea<option>milk</select>
            <a href="cart.html?of=tea">Cart</a>
            <script>window.state = {added: 0};
              document.querySelector("button").addEventListener("click", () => state.added++);
            </script>""",
        "cart.html": "<!doctype html><title>Cart</title><h1>Cart</h1><a href='/'>Back</a>",
    }
}
WAIT = Wait(milliseconds=0)


def answered(text: str) -> Answer:
    return Answer(text=text)


ON_PAGE: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    # what must hold; moves after which it does; moves after which it does not
    ({"url": "/cart.html?of=tea"}, ["Cart"], [WAIT]),
    ({"url": "{{origin}}/cart.html?of=tea"}, ["Cart"], [WAIT]),
    ({"url": {"prefix": "/cart"}}, ["Cart"], [WAIT]),
    ({"url": {"glob": "/**?of=*"}}, ["Cart"], [WAIT]),
    ({"url": {"regex": r"^{{origin}}/cart\.html"}}, ["Cart"], [WAIT]),
    ({"visited": {"prefix": "/cart"}, "url": "/"}, ["Cart", "Back"], [WAIT, WAIT]),
    ({"element": {"selector": "h1"}}, ["Cart"], [WAIT]),
    ({"element": {"selector": "#total", "has_text": "3 items"}}, ["Add"], [WAIT]),
    ({"element": {"selector": "#total", "has_text": {"regex": r"^\d i"}}, "url": {"prefix": "/c"}},
     [], ["Add"]),
    ({"element": {"selector": ".note"}}, [], [WAIT]),
    ({"element": {"selector": ".note", "visible": "any", "has_text": "secret"}}, [WAIT], []),
    ({"element": {"selector": "button", "visible": False}}, ["Cart"], [WAIT]),
    ({"element": {"selector": "input", "has_value": "Ada"}}, [WAIT], ["Cart"]),
    ({"element": {"selector": "input", "has_value": "Ad"}}, [], [WAIT]),
    ({"element": {"selector": "option", "visible": "any", "count": 2}}, [WAIT], ["Cart"]),
    ({"javascript": "document.title === 'Cart'"}, ["Cart"], [WAIT]),
    ({"javascript": {"expression": "state.added > 0", "world": "page"}}, ["Add"], [WAIT]),
    ({"javascript": "await Promise.resolve(true) // said"}, [WAIT], []),
    ({"javascript": "document.querySelector('h1')?.textContent && true"}, ["Cart"], [WAIT]),
    ({"not": {"element": "button"}}, ["Cart"], [WAIT]),
    ({"any": [{"url": "/nowhere"}, {"element": "h1"}]}, ["Cart"], [WAIT]),
    ({"all": [{"url": {"prefix": "/cart"}}, {"element": "h1"}]}, ["Cart"], [WAIT]),
    ({"all": [{"url": {"prefix": "/cart"}}, {"element": "button"}]}, [], ["Cart"]),
]  # fmt: skip


@pytest.mark.parametrize(("criteria", "met", "unmet"), ON_PAGE)
def test_a_task_is_done_as_soon_as_its_pages_are_as_asked(
    play: Any, criteria: dict[str, Any], met: list[Any], unmet: list[Any]
) -> None:
    task = {"start": SHOP, "success_criteria": criteria}
    if met:
        result = play(task, *met)
        assert (result.outcome, result.raw_reward) == (Outcome.SUCCESS, 1.0), result.reason
        assert len(result.steps) == len(met)
    if unmet:
        result = play(task, *unmet)
        assert result.outcome is Outcome.FAILURE
        assert result.reason == f"not done after {len(unmet)} steps"


@pytest.mark.parametrize(
    ("wanted", "right", "wrong"),
    [
        ("Berlin", " Berlin ", "Berlin!"),
        ({"exact": "Berlin", "ignore_case": True}, "BERLIN", "Bern"),
        ({"contains": "Berlin"}, "It is Berlin.", "It is Bern."),
        ({"regex": r"^(tea|milk)$"}, "milk", "milk and tea"),
        ({"number": 59.9, "tolerance": 0.01}, "It costs $59.91", "It costs 59.92"),
        (1299.5, "1,299.50 EUR", "1 or 1299.5"),
    ],
)
def test_an_answer_ends_a_task_that_asks_for_one(
    play: Any, wanted: Any, right: str, wrong: str
) -> None:
    task = {"start": SHOP, "success_criteria": {"answer": wanted}}
    result = play(task, WAIT, answered(right))
    assert (result.outcome, result.answer) == (Outcome.SUCCESS, right)
    result = play(task, answered(wrong))
    assert (result.outcome, result.raw_reward) == (Outcome.FAILURE, 0.0)
    assert result.reason == f"the answer is {wrong!r}"


def test_an_answer_before_the_pages_are_as_asked_has_failed(play: Any) -> None:
    result = play(
        {"start": SHOP, "success_criteria": {"url": "/cart.html"}}, answered("done"), WAIT
    )
    assert result.outcome is Outcome.FAILURE
    assert result.reason.startswith("the page in front is http://127.0.0.1:")


def test_what_is_final_is_looked_at_when_the_agent_answers(play: Any) -> None:
    task = {
        "start": SHOP,
        "success_criteria": {"element": {"selector": "#total", "has_text": "0"}, "final": True},
    }
    assert play(task, WAIT, answered("done")).outcome is Outcome.SUCCESS
    assert play(task, "Add", answered("done")).outcome is Outcome.FAILURE


def test_not_of_what_cannot_be_told_yet_is_no_success(play: Any) -> None:
    task = {"start": SHOP, "success_criteria": {"not": {"answer": "Bern"}}}
    assert play(task, WAIT).outcome is Outcome.FAILURE
    assert play(task, WAIT, answered("Berlin")).outcome is Outcome.SUCCESS
    assert play(task, answered("Bern")).outcome is Outcome.FAILURE


LIAR = """<!doctype html><p id=state>open</p><p>nothing</p><script>
  const real = document.querySelector("#state");
  Object.defineProperty(Document.prototype, "title", { get: () => "Done" });
  Document.prototype.querySelector = () => ({ textContent: "closed" });
  Document.prototype.querySelectorAll = () => [real, real, real];
  Object.defineProperty(HTMLElement.prototype, "innerText", { get: () => "closed" });
</script>"""


@pytest.mark.parametrize(
    "criteria",
    [
        {"javascript": "document.title === 'Done'"},
        {"javascript": "document.querySelector('#state').textContent === 'closed'"},
        {"element": {"selector": "#state", "has_text": "closed"}},
        {"element": {"selector": "#state", "count": 3}},
        {"element": ".nothing"},
    ],
)
def test_a_page_cannot_fake_what_is_looked_at_from_outside(
    play: Any, criteria: dict[str, Any]
) -> None:
    result = play({"start": {"html": LIAR}, "success_criteria": criteria}, WAIT)
    assert (result.outcome, result.reason) == (Outcome.FAILURE, "not done after 1 steps")


CLOBBERED = """<!doctype html><title>Open</title>
  <form name=querySelector></form><form name=querySelectorAll></form><form name=title></form>
  <form name=body></form><form name=documentElement></form>
  <form id=f><input name=innerText value=closed><input name=getBoundingClientRect>still open</form>
"""


@pytest.mark.parametrize(
    "criteria",
    [
        {"element": {"selector": "#f", "has_text": "still open"}},
        {"javascript": "document.querySelector('#f') && document.title === 'Open'"},
        {"javascript": "document.evaluate('//form', document, null, 6, null).snapshotLength === 6"},
    ],
)
def test_names_of_elements_do_not_stand_before_what_is_looked_at(
    play: Any, criteria: dict[str, Any]
) -> None:
    result = play({"start": {"html": CLOBBERED}, "success_criteria": criteria}, WAIT)
    assert result.outcome is Outcome.SUCCESS, result.reason


def test_a_page_can_fake_what_is_asked_of_its_own_world(play: Any) -> None:
    script = {"expression": "document.title === 'Done'", "world": "page"}
    task = {"start": {"html": LIAR}, "success_criteria": {"javascript": script}}
    assert play(task, WAIT).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"javascript": "nothing.there"}, "javascript failed: ReferenceError: nothing is not"),
        ({"javascript": "'yes'"}, 'javascript gave "yes", not true or false'),
        ({"javascript": "(() => { while (true); })()"}, "javascript did not end within 3 s"),
        ({"element": "p["}, "selector failed: SyntaxError"),
        ({"url": {"regex": "^(.|..|...)*[A-Z]$"}}, "did not end within 1 s"),
        ({"scorer": "nonesuch"}, "no scorer 'nonesuch' is installed on this worker"),
    ],
)
def test_what_cannot_be_judged_says_nothing_of_the_agent(
    play: Any, criteria: dict[str, Any], said: str
) -> None:
    long = {"files": {"a.html": "<p>x"}, "page": "a.html?" + "/a" * 60}
    result = play({"start": long, "success_criteria": criteria}, WAIT)
    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert said in result.reason
    # What another worker, or the next moment, may be better at is tried again.
    assert result.permanent is (not said.startswith(("javascript did not end", "no scorer")))


def test_each_seed_draws_values_for_prompt_page_and_criteria(play: Any) -> None:
    task = {
        "task_prompt": "Open ticket {{number}} of {{who}}.",
        "start": {"html": "<p>{{who}} {{number}}</p><script>x = '{{ unknown'</script>"},
        "cases": [
            {"number": 7, "who": "<b>Ada</b>", "key": "k7"},
            {"number": 8, "who": "Bob", "key": "k8"},
        ],
        "success_criteria": {
            "element": {"selector": "p", "has_text": {"exact": "{{who}} {{number}}"}},
            "javascript": "values.key === 'k' + values.number",
            "answer": "{{key}}",
        },
    }  # fmt: skip
    task["start"] |= {"fill_values": True}  # type: ignore[operator]
    first = play(task, answered("k7"), seed=0)
    assert (first.outcome, first.goal) == (Outcome.SUCCESS, "Open ticket 7 of <b>Ada</b>.")
    assert play(task, answered("k8"), seed=1).outcome is Outcome.SUCCESS
    assert play(task, answered("k8"), seed=2).outcome is Outcome.FAILURE


def test_two_episodes_have_origins_of_their_own(play: Any) -> None:
    task = {
        "start": {"html": "<p></p>"},
        "setup": {"javascript": "document.querySelector('p').textContent ="
                  " localStorage.length; localStorage.setItem('a', 'b')"},
        "success_criteria": {"element": {"selector": "p", "has_text": {"exact": "0"}}},
    }  # fmt: skip
    assert [play(task, WAIT).outcome for _ in range(2)] == [Outcome.SUCCESS] * 2


def test_a_definition_does_not_open_the_inner_network(play: Any, serving: Any) -> None:
    with serving(lambda *asked: (200, "text/html", "<h1>inside</h1>")) as (origin, asked):
        start = {"start": f"{origin}/", "success_criteria": {"element": "h1"}}
        also = {"start": SHOP, "origins": [origin], "success_criteria": {"element": "h1"}}
        result = play(start, WAIT)
        assert result.outcome is Outcome.ENVIRONMENT_ERROR
        assert "is refused: it is a loopback address" in result.reason
        assert play(also, Goto(url=f"{origin}/")).outcome is Outcome.FAILURE
        assert asked == []


def test_an_agent_cannot_leave_a_fixture(play: Any, serving: Any, with_environment: Any) -> None:
    with_environment(MLOPS_INNER_HOSTS='["127.0.0.1"]')
    with serving(lambda *asked: (200, "text/html", "<h1>outside</h1>")) as (origin, asked):
        task = {"start": SHOP, "success_criteria": {"element": "h1"}}
        assert play(task, Goto(url=f"{origin}/")).outcome is Outcome.FAILURE
        assert asked == []
        there = {**task, "origins": [origin]}
        assert play(there, Goto(url=f"{origin}/")).outcome is Outcome.SUCCESS


def test_setup_prepares_the_origin_and_teardown_puts_it_away(
    play: Any, serving: Any, with_environment: Any
) -> None:
    with_environment(MLOPS_INNER_HOSTS='["127.0.0.1"]')
    state = {"tickets": "none"}

    def respond(method: str, path: str, body: bytes) -> tuple[int, str, str]:
        if method == "POST":
            state["tickets"] = body.decode()
            return 201, "application/json", "{}"
        return 200, "text/html", f"<p id=t>{state['tickets']}</p><p id=own></p>"

    with serving(respond) as (origin, asked):
        task = {
            "start": f"{origin}/desk?n={{{{n}}}}",
            "values": {"n": {"from": 5, "to": 5}},
            "setup": {
                "requests": [{"path": "/reset", "json": {"open": ["{{n}}"]}, "status": 201}],
                "javascript": "document.querySelector('#own').textContent = values.n",
            },
            "teardown": {"requests": [{"path": "/reset", "body": "none"}]},
            "success_criteria": {"all": [
                {"element": {"selector": "#t", "has_text": '"5"'}},
                {"element": {"selector": "#own", "has_text": {"exact": "5"}}},
            ]},
        }  # fmt: skip
        assert play(task, WAIT).outcome is Outcome.SUCCESS
        asked = [one for one in asked if "favicon" not in one[1]]
        assert asked == [
            ("GET", "/desk?n=5", ""),
            ("POST", "/reset", '{"open": ["5"]}'),
            ("GET", "/desk?n=5", ""),
            ("POST", "/reset", "none"),
        ]


def test_a_setup_that_fails_is_no_fault_of_the_agent(
    play: Any, serving: Any, with_environment: Any
) -> None:
    with_environment(MLOPS_INNER_HOSTS='["127.0.0.1"]')

    def respond(method: str, path: str, body: bytes) -> tuple[int, str, str]:
        return (302, "text/plain", "http://127.0.0.1:9/") if method == "POST" else (
            200, "text/html", "<p>")  # fmt: skip

    with serving(respond) as (origin, _):
        task = {
            "start": origin,
            "setup": {"requests": [{"path": "/reset"}]},
            "success_criteria": {"element": "p"},
        }
        result = play(task, WAIT)
    assert result.outcome is Outcome.ENVIRONMENT_ERROR
    assert result.reason == f"POST {origin}/reset answered 302, and 2xx was wanted"
    task = {"start": SHOP, "setup": {"javascript": "throw 'no'"}, "success_criteria": {"url": "/"}}
    assert play(task, WAIT).reason == "javascript failed: no"


def test_a_predicate_is_asked_of_the_page_that_a_click_leads_to(play: Any) -> None:
    task = {"start": SHOP, "success_criteria": {"javascript": "document.title === 'Cart'"}}
    result = play(task, "Cart")
    assert result.outcome is Outcome.SUCCESS
    assert json.loads(result.model_dump_json())["judgements"] == []
