"""Each family of the rule-based agent on a page made by hand: from what is seen, not how."""

import asyncio
from itertools import count

import pytest

from shared.evaluation.agents import make_agent
from shared.evaluation.agents.policies.families import FAMILIES, REFUSALS, choose
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Element,
    Fill,
    Observation,
    ReportInfeasible,
    SelectOption,
    Task,
    Wait,
)


def element(tag: str, text: str = "", /, **known: object) -> dict[str, object]:
    fields = {"role", "value", "checked", "selected", "disabled", "interactive", "options", "box"}
    attributes = {name.rstrip("_"): value for name, value in known.items() if name not in fields}
    defaults = {"role": tag, "interactive": True}
    chosen = {name: value for name, value in known.items() if name in fields}
    return {"tag": tag, "text": text, "attributes": attributes, **defaults, **chosen}


def page(goal: str, *elements: dict[str, object], error: str | None = None) -> Observation:
    return Observation(
        goal=goal,
        url="http://127.0.0.1/task.html",
        title="",
        text="",
        elements=tuple(
            Element.model_validate({"id": n, "box": (0, 20 * n, 10, 10), **e})
            for n, e in zip(count(1), elements, strict=False)
        ),
        step=0,
        last_error=error,
        dom_nodes=len(elements),
    )


def decide(observation: Observation, memory: Memory | None = None) -> Action:
    return choose(observation, memory or Memory()).action


def after(observation: Observation, *actions: Action) -> Memory:
    memory = Memory()
    for action in actions:
        memory = memory.after(action, observation)
    return memory


SUBMIT = element("button", "Submit", id="subbtn")


@pytest.mark.parametrize(
    ("goal", "elements", "expected"),
    [
        ("Click the button.", [element("button", "Click Me!")], 1),
        ("Click button ONE.", [element("button", "TWO"), element("button", "ONE")], 2),
        (
            'Click on the "ok" button.',
            [element("button", "Ok"), element("button", "ok"), element("button", "okay")],
            2,
        ),
        (
            'Close the dialog box by clicking the "x".',
            [element("button", "", class_="ui-button ui-dialog-titlebar-close", title="Close")],
            1,
        ),
        (
            'Click the button in the dialog box labeled "Cancel".',
            [element("button", "Close"), element("button", "OK"), element("button", "Cancel")],
            3,
        ),
        ("Click on Tab #2.", [element("a", "Tab #1"), element("a", "Tab #2")], 2),
        (
            'Click on the link "amet,".',
            [element("div", "amet,"), element("span", "amet,", class_="alink")],
            2,
        ),
        (
            'Click on a "text" widget.',
            [element("input", type="radio"), element("input", type="input", value="x")],
            2,
        ),
        (
            "Focus into the 2nd input textbox.",
            [element("input", type="text"), element("input", type="text")],
            2,
        ),
        (
            "Find the email by Ann and click the trash icon to delete it.",
            [
                element("div", "Bob", class_="email-sender"),
                element("span", class_="trash"),
                element("div", "Ann", class_="email-sender"),
                element("span", class_="trash"),
            ],
            4,
        ),
        (
            'For the user @ann, click on the "Mute" button.',
            [
                element("span", "@ann", class_="username"),
                element("span", class_="more"),
                element("li", "Mute @ann", class_="menu-user"),
            ],
            3,
        ),
    ],
)
def test_the_element_that_the_goal_means_is_clicked(
    goal: str, elements: list[dict[str, object]], expected: int
) -> None:
    assert decide(page(goal, *elements)) == Click(element=expected)


def test_a_sequence_goes_on_with_the_second_button() -> None:
    seen = page(
        "Click button ONE, then click button TWO.",
        element("button", "TWO"),
        element("button", "ONE"),
    )
    assert decide(seen) == Click(element=2)
    assert decide(seen, after(seen, Click(element=2))) == Click(element=1)


def test_tabs_are_opened_one_after_another_until_the_link_is_seen() -> None:
    goal = 'Switch between the tabs to find and click on the link "sit".'
    tabs = [element("a", f"Tab #{n}", class_="ui-tabs-anchor") for n in (1, 2)]
    hidden = page(goal, *tabs)
    assert decide(hidden, after(hidden, Click(element=1))) == Click(element=2)
    assert decide(page(goal, *tabs, element("span", "sit", class_="alink"))) == Click(element=3)


def test_a_section_is_expanded_before_the_form_is_sent() -> None:
    seen = page(
        "Expand the section below and click submit.",
        element("h3", "Section #7", class_="ui-accordion-header"),
        SUBMIT,
    )
    assert decide(seen) == Click(element=1)
    assert decide(seen, after(seen, Click(element=1))) == Click(element=2)


def test_exactly_the_named_boxes_are_checked() -> None:
    goal = "Select aB, c and click Submit."

    def boxes(*checked: bool) -> Observation:
        names = ["aB", "x", "c"]
        shown = [
            element("input", name, type="checkbox", checked=state)
            for name, state in zip(names, checked, strict=True)
        ]
        return page(goal, *shown, SUBMIT)

    assert decide(boxes(False, False, False)) == Click(element=1)
    assert decide(boxes(True, True, False)) == Click(element=2)
    assert decide(boxes(True, False, False)) == Click(element=3)
    assert decide(boxes(True, False, True)) == Click(element=4)


def test_selecting_nothing_only_submits() -> None:
    box = element("input", "nothingness", type="checkbox", checked=False)
    assert decide(page("Select nothing and click Submit.", box, SUBMIT)) == Click(element=2)


def test_an_entry_of_a_list_is_selected_then_sent() -> None:
    goal = "Select Trinidad and Tobago from the list and click Submit."
    options = ("Chad", "Trinidad and Tobago")
    unchosen = element("select", options=options, value="Chad")
    chosen = element("select", options=options, value="Trinidad and Tobago")
    expected = SelectOption(element=1, option="Trinidad and Tobago")
    assert decide(page(goal, unchosen, SUBMIT)) == expected
    assert decide(page(goal, chosen, SUBMIT)) == Click(element=2)


@pytest.mark.parametrize(("shown", "expected"), [("0", 3), ("-4", 2), ("-3", 4)])
def test_a_spinner_is_turned_towards_the_number(shown: str, expected: int) -> None:
    seen = page(
        "Select -3 with the spinner and hit Submit.",
        element("input", value=shown),
        element("a", class_="ui-spinner-button ui-spinner-up"),
        element("a", class_="ui-spinner-button ui-spinner-down"),
        SUBMIT,
    )
    assert decide(seen) == Click(element=expected)


@pytest.mark.parametrize(
    ("goal", "text"),
    [
        ('Enter "Ida" into the text field and press Submit.', "Ida"),
        ('Type "IDA" in all lower case letters in the text input and press Submit.', "ida"),
        ('Type "ida" in all upper case letters in the text input and press Submit.', "IDA"),
    ],
)
def test_text_is_entered_once_then_sent(goal: str, text: str) -> None:
    assert decide(page(goal, element("input", type="text", value=""), SUBMIT)) == Fill(
        element=1, text=text
    )
    filled = element("input", type="text", value=text)
    assert decide(page(goal, filled, SUBMIT)) == Click(element=2)


def test_a_login_goes_by_the_labels_of_the_fields() -> None:
    goal = 'Enter the username "ida" and the password "pw" into the text fields and press login.'
    fields = [element("input", "Password", type="password", value="")]
    named = [element("label", "Username"), element("input", type="text", value="ida")]
    seen = page(goal, *fields, *named, element("button", "Login"))
    assert decide(seen) == Fill(element=1, text="pw")
    assert decide(seen, after(seen, Fill(element=1, text="pw"))) == Click(element=4)


def test_both_password_fields_are_filled() -> None:
    goal = 'Enter the password "q1" into both text fields and press submit.'
    first = element("input", type="password", value="q1")
    second = element("input", type="password", value="")
    assert decide(page(goal, first, second, SUBMIT)) == Fill(element=2, text="q1")


def test_a_date_field_gets_an_iso_date() -> None:
    goal = "Enter 02/09/2013 as the date and hit submit."
    seen = page(goal, element("input", type="date", value=""), SUBMIT)
    assert decide(seen) == Fill(element=1, text="2013-02-09")


def test_the_cell_beside_the_key_is_copied() -> None:
    seen = page(
        "Enter the value of Color into the text field and press Submit.",
        element("td", "Country"),
        element("td", "Color"),
        element("td", "Color"),
        element("td", "red"),
        element("input", type="text", value=""),
        SUBMIT,
    )
    assert decide(seen) == Fill(element=5, text="Color")


def test_a_result_on_a_later_page_is_leafed_to() -> None:
    goal = (
        'Use the textbox to enter "Ida" and press "Search", '
        "then find and click the 5th search result."
    )
    field = element("input", type="text", value="Ida")
    results = [element("a", f"result {n}", class_="search-title") for n in range(3)]
    seen = page(goal, field, element("button", "Search"), *results, element("a", "2"))
    searched = after(seen, Click(element=2))
    assert decide(seen) == Click(element=2)
    assert decide(seen, searched) == Click(element=6)
    assert decide(seen, searched.after(Click(element=6), seen)) == Click(element=4)


def test_folders_are_opened_until_the_name_is_seen() -> None:
    goal = 'Navigate through the file tree. Find and click on the folder or file named "Ida".'
    closed = page(goal, element("span", "Eva", class_="folder"), element("span", "Ada"))
    assert decide(closed) == Click(element=1)
    leaf = element("span", "Ida", class_="file")
    assert decide(page(goal, element("span", "Eva", class_="folder"), leaf)) == Click(element=2)


def test_the_suggestion_that_fits_is_taken() -> None:
    goal = 'Enter an item that starts with "Ber" and ends with "da".'
    offers = [element("li", name, class_="ui-menu-item") for name in ("Berlin", "Bermuda")]
    empty = page(goal, element("input", value=""), SUBMIT)
    offered = page(goal, element("input", value="Ber"), SUBMIT, *offers)
    taken = page(goal, element("input", value="Bermuda"), SUBMIT)
    assert decide(empty) == Fill(element=1, text="Ber")
    assert decide(offered) == Click(element=4)
    assert decide(taken, after(offered, Click(element=4))) == Click(element=2)


def test_a_reply_is_written_then_sent() -> None:
    goal = 'Find the email by Ann and reply to them with the text "Sit amet.".'
    listed = page(goal, element("div", "Ann", class_="email-sender"))
    opened = page(goal, element("span", "Reply", class_="email-reply"))
    empty = element("textarea", id="reply-text", value="")
    full = element("textarea", id="reply-text", value="Sit amet.")
    send = element("span", id="send-reply")
    assert decide(listed) == Click(element=1)
    assert decide(opened) == Click(element=1)
    assert decide(page(goal, empty, send)) == Fill(element=1, text="Sit amet.")
    assert decide(page(goal, full, send)) == Click(element=2)


def test_a_flight_is_searched_for_by_place_and_day() -> None:
    goal = "Book the shortest one-way flight from: LEX to: Troy, AL on 10/05/2016."
    origin = element("input", placeholder="From:", value="Lexington, KY (LEX)")
    typed = element("input", placeholder="To:", value="Troy, AL")
    chosen = element("input", placeholder="To:", value="Troy, AL (TOI)")
    offer = element("li", "Troy, AL (TOI)")
    day = element("input", class_="hasDatepicker", value="")
    month = element("span", "November", class_="ui-datepicker-month")
    year = element("span", "2016", class_="ui-datepicker-year")
    back = element("a", "Prev", class_="ui-datepicker-prev")
    assert decide(page(goal, origin, typed, offer)) == Click(element=3)
    assert decide(page(goal, origin, chosen, day)) == Click(element=3)
    assert decide(page(goal, origin, chosen, day, month, year, back)) == Click(element=6)


@pytest.mark.parametrize(("best", "expected"), [("shortest", 4), ("cheapest", 3)])
def test_the_best_flight_is_booked(best: str, expected: int) -> None:
    goal = f"Book the {best} one-way flight from: LEX to: TOI on 10/05/2016."
    seen = page(
        goal,
        element("div", "10h 2m", class_="time-duration"),
        element("div", "9h 50m", class_="time-duration"),
        element("button", "Book flight for $99", class_="flight-price"),
        element("button", "Book flight for $120", class_="flight-price"),
    )
    assert decide(seen) == Click(element=expected)


def test_what_is_not_there_yet_is_waited_for_a_few_times_only() -> None:
    seen = page('Click on the link "sit".')
    memory = Memory()
    answers = []
    for _ in range(6):
        action = decide(seen, memory)
        answers.append(type(action))
        memory = memory.after(action, seen)
    assert answers[:4] == [Wait] * 4
    assert answers[4] is ReportInfeasible


def test_an_unknown_goal_is_reported_infeasible() -> None:
    assert isinstance(decide(page("Draw a circle.", SUBMIT)), ReportInfeasible)


def test_an_action_that_the_page_keeps_refusing_is_given_up() -> None:
    agent = make_agent("rule-based", {})
    task = Task(
        benchmark="b", name="n", category="c", difficulty="easy", max_steps=9, timeout_seconds=9
    )

    async def play() -> list[Action]:
        await agent.reset(task, 1)
        seen = page("Click the button.", element("button", "OK"))
        refused = seen.model_copy(update={"last_error": "element 1 is covered"})
        return [(await agent.act(o)).action for o in (seen, *[refused] * REFUSALS)]

    *tried, last = asyncio.run(play())
    assert tried == [Click(element=1)] * REFUSALS
    assert isinstance(last, ReportInfeasible)
    assert "covered" in last.reason


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_goal_of_another_family_and_an_empty_page_break_nothing(family: str) -> None:
    assert FAMILIES[family](page("Draw a circle."), Memory()) is None
