"""Each family of the rule-based agent on a page made by hand: from what is seen, not how."""

import asyncio
from itertools import count

import pytest

from shared.evaluation.agents import make_agent
from shared.evaluation.agents.policies.families import FAMILIES, REFUSALS, choose
from shared.evaluation.agents.policies.games import best_square
from shared.evaluation.agents.policies.mail import MailOrder, read_order
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Drag,
    Element,
    Fill,
    Hover,
    Observation,
    Press,
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
    sender = element("div", "Ann", class_="email-sender")
    opened = page(goal, element("span", "Reply", class_="email-reply"), sender)
    memory = after(listed, Click(element=1))
    empty = element("textarea", id="reply-text", value="")
    full = element("textarea", id="reply-text", value="Sit amet.")
    send = element("span", id="send-reply")
    assert decide(listed) == Click(element=1)
    assert decide(opened) == Click(element=1)
    assert decide(page(goal, empty, send), memory) == Fill(element=1, text="Sit amet.")
    assert decide(page(goal, full, send), memory) == Click(element=2)


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


def svg(tag: str, text: str = "", size: int = 20, **known: object) -> dict[str, object]:
    return element(tag, text, role="graphic", box=(0, 0, size, size), **known)


FIGURES = [
    svg("text", "e", fill="red"),
    svg("text", "7", 10, fill="red"),
    svg("circle", "", 10, fill="aqua"),
    svg("rect", fill="red"),
    svg("polygon", fill="aqua"),
]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("large letter", 1),
        ("small red item", 2),
        ("7", 2),
        ("aqua shape", 3),
        ("large aqua item", 5),
        ("rectangle", 4),
    ],
)
def test_a_figure_is_found_by_size_colour_and_kind(wanted: str, expected: int) -> None:
    assert decide(page(f"Click on a {wanted}", *FIGURES)) == Click(element=expected)


@pytest.mark.parametrize(("wanted", "count"), [("red item", 3), ("shape", 3), ("E", 0)])
def test_figures_are_counted(wanted: str, count: int) -> None:
    buttons = [element("button", str(n)) for n in range(5)]
    seen = page(f"How many {wanted}s are there?", *FIGURES, *buttons)
    assert decide(seen) == Click(element=len(FIGURES) + count + 1)


@pytest.mark.parametrize(
    ("figure", "label"),
    [(FIGURES[0], "Letter"), (FIGURES[1], "Number"), (FIGURES[4], "Triangle")],
)
def test_a_figure_is_named(figure: dict[str, object], label: str) -> None:
    goal = "Click the button that best describes the figure below."
    other = element("button", "Circle")
    assert decide(page(goal, figure, other, element("button", label))) == Click(element=3)


@pytest.mark.parametrize(("point", "expected"), [("(0,0)", 5), ("(-1,1)", 1), ("(1,-1)", 9)])
def test_a_point_of_a_grid_is_counted_from_its_middle(point: str, expected: int) -> None:
    grid = [svg("circle", fill="blue") for _ in range(9)]
    for at, circle in enumerate(grid):
        circle["box"] = (30 * (at % 3), 30 * (at // 3), 8, 8)
    assert decide(page(f"Click on the grid coordinate {point}.", *grid)) == Click(element=expected)


def test_all_shades_of_a_colour_are_selected_and_no_other() -> None:
    goal = "Select all the shades of red and press Submit."
    shades = ["177, 79, 79", "85, 122, 167", "140, 60, 60"]

    def boxes(*selected: int) -> Observation:
        return page(
            goal,
            *(
                element(
                    "span",
                    style=f"background-color: rgb({rgb});",
                    class_="selected" if at in selected else "",
                )
                for at, rgb in enumerate(shades)
            ),
            SUBMIT,
        )

    assert decide(boxes()) == Click(element=1)
    assert decide(boxes(0, 1)) == Click(element=2)
    assert decide(boxes(0)) == Click(element=3)
    assert decide(boxes(0, 2)) == Click(element=4)


FIELD = element("input", type="text", value="")


def told(text: str) -> dict[str, object]:
    return element("div", text, interactive=False)


@pytest.mark.parametrize(
    ("goal", "elements", "text"),
    [
        ("Solve the math problem and type your answer into the textbox.", ["3 - 8 ="], "-5"),
        ("Solve the math problem and type your answer into the textbox.", ["3 x 8 ="], "24"),
        ("Solve for x and type your answer into the textbox.", ["x - 7 = 20"], "27"),
        ("Solve for x and type your answer into the textbox.", ["7 - x = 20"], "-13"),
        ("Solve for x and type your answer into the textbox.", ["7 + x = 20"], "13"),
        ("Type the text below into the text field and press Submit.", ["a", "B", "3"], "aB3"),
    ],
)
def test_what_is_shown_is_worked_out_and_typed(goal: str, elements: list[str], text: str) -> None:
    seen = page(goal, *(told(shown) for shown in elements), FIELD, SUBMIT)
    assert decide(seen) == Fill(element=len(elements) + 1, text=text)


@pytest.mark.parametrize(
    ("goal", "shown", "expected"),
    [
        ("Generate a number less than 5, then press submit.", "5", 2),
        ("Generate a number less than 5, then press submit.", "4", 3),
        ("Generate a number greater than 5, then press submit.", "6", 3),
        ("Generate an odd number, then press submit.", "4", 2),
        ("Generate an even number, then press submit.", "0", 3),
        ("Generate an even number, then press submit.", "-", 2),
    ],
)
def test_numbers_are_drawn_until_one_is_right(goal: str, shown: str, expected: int) -> None:
    seen = page(goal, told(shown), element("button", "Generate"), SUBMIT)
    assert decide(seen) == Click(element=expected)


@pytest.mark.parametrize("secret", range(10))
def test_a_number_is_found_with_four_guesses(secret: int) -> None:
    goal = "Guess the number between 0-9 and press Submit. Use the feedback below."
    memory, typed, hint = Memory(), "", ""
    for _ in range(8):
        field = element("input", type="number", value=typed)
        seen = page(goal, field, SUBMIT).model_copy(update={"text": hint})
        action = decide(seen, memory)
        memory = memory.after(action, seen)
        if isinstance(action, Fill):
            typed = action.text
        elif int(typed) == secret:
            return
        else:
            side = "lower" if secret < int(typed) else "higher"
            hint = f"The number is {side} than {typed}."
    pytest.fail(f"{secret} was not found")


@pytest.mark.parametrize(
    ("goal", "shown", "key"),
    [
        ("Select 7 with the slider and hit Submit.", "5", "ArrowRight"),
        ("Select -7 with the slider and hit Submit.", "5", "ArrowLeft"),
        ("Select 80 with the slider and hit Submit.", "5", "PageUp"),
        ("Set the sliders to the combination [4,5] and submit.", "5", "ArrowLeft"),
    ],
)
def test_a_slider_is_moved_with_keys(goal: str, shown: str, key: str) -> None:
    handle = element("span", class_="ui-slider-handle")
    seen = page(goal, handle, told(shown), handle, told("5"), SUBMIT)
    assert decide(seen) == Press(element=1, key=key)


def test_a_slider_that_is_right_leaves_the_checkbox_and_the_button() -> None:
    goal = "Select 5 with the slider, click the 2nd checkbox, then hit Submit."
    handle = element("span", class_="ui-slider-handle")

    def form(checked: bool) -> Observation:
        boxes = [element("input", type="checkbox", checked=state) for state in (False, checked)]
        return page(goal, handle, told("5"), *boxes, SUBMIT)

    assert decide(form(checked=False)) == Click(element=4)
    assert decide(form(checked=True)) == Click(element=5)


@pytest.mark.parametrize("labels_first", [True, False])
def test_a_search_form_is_read_whether_labels_stand_before_or_after(labels_first: bool) -> None:
    goal = "Search for crime movies directed by Curry from year 1995."
    rows = []
    for name in ("Year:", "Movie Genre", "Director Name"):
        field = element("input", type="text", value="")
        rows.extend([told(name), field] if labels_first else [field, told(name)])
    first = 2 if labels_first else 1
    assert decide(page(goal, *rows, SUBMIT)) == Fill(element=first, text="1995")


def test_a_menu_is_unfolded_under_the_mouse_and_only_its_end_is_clicked() -> None:
    goal = "Select Ada>Bea>Cid"
    entries = [element("div", name, role="menuitem") for name in ("Ada", "Bea", "Cid")]
    first, second = page(goal, *entries[:1]), page(goal, *entries[:2])
    assert decide(first) == Hover(element=1)
    assert isinstance(decide(first, after(first, Hover(element=1))), Wait)
    assert decide(second, after(first, Hover(element=1))) == Hover(element=2)
    assert decide(page(goal, *entries)) == Click(element=3)


def test_an_event_is_drawn_where_the_day_is_free() -> None:
    goal = 'Create a 90 mins event named "Gym", between 8AM and 12PM.'
    hours = []
    for label in ("8am", "9am", "10am", "11am", "12pm"):
        hours.append(element("span", label, class_="hour-label"))
        hours.extend(element("div", class_="half-hour") for _ in range(2))
    for at, hour in enumerate(e for e in hours if e["tag"] == "div"):
        hour["box"] = (0, 20 * at, 100, 20)
    # It hides the second half hour, and a little of the third.
    taken = element("div", "Food", class_="event", box=(0, 22, 100, 20))
    seen = page(goal, *hours, taken)
    assert decide(seen) == Drag(element=5, onto=8)


@pytest.mark.parametrize(
    ("where", "onto"),
    [("to the top.", 1), ("to the 3rd position.", 3), ("down by one position.", 3)],
)
def test_an_item_is_dragged_onto_the_place_meant(where: str, onto: int) -> None:
    items = [told(name) for name in ("Ada", "Bea", "Cid", "Dee", "Eve")]
    assert decide(page(f"Drag Bea {where}", *items)) == Drag(element=2, onto=onto)


def test_numbers_are_sorted_from_the_first_wrong_place_on() -> None:
    goal = "Sort the numbers in increasing order, starting with the lowest number at the top."
    wrong, right = ["-5", "40", "7", "9"], ["-5", "7", "9", "40"]
    assert decide(page(goal, *map(told, wrong), SUBMIT)) == Drag(element=3, onto=2)
    assert decide(page(goal, *map(told, right), SUBMIT)) == Click(element=5)


def test_shapes_are_dragged_into_the_box_meant() -> None:
    goal = "Drag all circles into the left box, and everything else into the right box."
    left = element("rect", fill="none", box=(0, 0, 50, 50))
    right = element("rect", fill="none", box=(60, 0, 50, 50))
    circle = element("circle", fill="red", box=(5, 5, 10, 10))
    triangle = element("polygon", fill="red", box=(5, 80, 10, 10))
    sorted_one = element("polygon", fill="red", box=(65, 5, 10, 10))
    assert decide(page(goal, circle, triangle, left, right, SUBMIT)) == Drag(element=2, onto=4)
    assert decide(page(goal, circle, sorted_one, left, right, SUBMIT)) == Click(element=5)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ('Email Ada the message, "Sit amet."', MailOrder("reply", "Ada", "Sit amet.")),
        ("Get rid of the email I got from Ada.", MailOrder("trash", "Ada")),
        ("Mark Ada's email as imporant.", MailOrder("star", "Ada")),
        ("I would like to see the important email Ada sent me.", MailOrder("star", "Ada")),
        ("Forward to Bea the email from Ada.", MailOrder("forward", "Ada", "Bea")),
        ("Give Bea the message you received from Ada,", MailOrder("forward", "Ada", "Bea")),
        ("Bea wants the email Ada sent to you.", MailOrder("forward", "Ada", "Bea")),
        (
            "Ada wants his or her message to be sent to Bea.",
            MailOrder("forward", "Ada", "Bea"),
        ),
        ("Forward Ada's email to Zoe.", MailOrder("forward", "Ada", "Zoe")),
        ("Delete the email from Zoe.", None),
    ],
)
def test_what_to_do_with_whose_mail_is_read_from_many_ways_to_say_it(
    goal: str, expected: MailOrder | None
) -> None:
    assert read_order(goal, ["Cid", "Ada", "Bea"]) == expected


def test_as_many_posts_of_a_user_are_liked_as_wanted() -> None:
    goal = 'Click the "Like" button on 1 post by @ann and then click Submit.'

    def posts(*active: int) -> Observation:
        shown = []
        for at, user in enumerate(("@bob", "@ann", "@ann")):
            shown.append(element("span", user, class_="username"))
            shown.append(element("span", class_="like active" if at in active else "like"))
        return page(goal, *shown, SUBMIT)

    assert decide(posts()) == Click(element=4)
    assert decide(posts(1)) == Click(element=7)


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ("Order one of each item: Soup, Tart", 6),
        ("Order 2 items that are vegan", 3),
        ("Order one of each item: Soup", 7),
    ],
)
def test_dishes_are_added_until_there_are_as_many_as_wanted(goal: str, expected: int) -> None:
    seen = page(
        goal,
        element("div", "Soup", class_="item-name"),
        element("img", alt="vegan"),
        element("span", "+", class_="add"),
        element("span", "1", class_="quantity"),
        element("div", "Tart", class_="item-name"),
        element("span", "+", class_="add"),
        element("button", "Order!"),
    )
    assert decide(seen) == Click(element=expected)


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ("xx.oo....", 2),
        ("x...x.oo.", 8),
        ("xo.......", 3),
        ("oo..x...x", 2),
    ],
)
def test_a_game_is_won_where_it_can_be_and_no_loss_is_let_through(
    board: str, expected: int
) -> None:
    assert best_square(tuple({"x": 1, "o": -1, ".": 0}[mark] for mark in board)) == expected


def test_a_dialog_in_the_way_of_a_login_is_cancelled_and_what_was_typed_typed_again() -> None:
    goal = 'Enter the username "ida" and the password "pw" into the text fields and press login.'
    labels = [element("label", "Username"), element("label", "Password")]

    def form(disabled: bool) -> Observation:
        fields = [
            element("input", "Username", type="text", value="ida", disabled=disabled),
            element("input", "Password", type="password", value="", disabled=disabled),
        ]
        dialog = [element("button", "OK"), element("button", "Cancel")] if disabled else []
        return page(goal, *labels, *fields, *dialog)

    typed = Fill(element=4, text="pw")
    blocked = after(form(disabled=True), typed)
    assert decide(form(disabled=True), blocked) == Click(element=6)
    cancelled = blocked.after(Click(element=6), form(disabled=True))
    assert decide(form(disabled=False), cancelled) == typed


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
