"""The random agent is a fair lot, and the replay agent does again what was done."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from shared.database import TenantId, tenant_session
from shared.evaluation.agents import describe_agent, make_agent
from shared.evaluation.agents.random_agent import sensible_actions
from shared.evaluation.agents.replay import with_recording
from shared.evaluation.looks import find, looks_of
from shared.evaluation.protocol import (
    PAGE_ACTIONS,
    WEB_ACTIONS,
    Action,
    AgentError,
    Answer,
    Click,
    Drag,
    Element,
    Fill,
    Observation,
    Press,
    SelectOption,
    Task,
)
from shared.evaluation.runs import Chooser, create_run
from shared.evaluation.tables import Episode
from shared.jobs.contracts import AbSplit, RunBenchmark
from shared.registry import models
from shared.tenancy.tenants import create_tenant

TASK = Task(
    benchmark="miniwob",
    name="login-user",
    category="forms",
    difficulty="easy",
    max_steps=5,
    timeout_seconds=30,
)


def element(number: int, tag: str = "button", text: str = "", **more: Any) -> Element:
    given: dict[str, Any] = {
        "role": tag,
        "attributes": {},
        "interactive": True,
        "box": (0, 0, 1, 1),
        **more,
    }
    return Element(id=number, tag=tag, text=text, **given)


def page(*elements: Element, goal: str = 'Enter "ann" and log in.') -> Observation:
    return Observation(
        goal=goal, url="u", title="", text="", elements=elements, step=0, dom_nodes=1
    )


FORM = page(
    element(1, "input", attributes={"type": "text", "id": "user"}),
    element(2, "select", options=("red", "blue")),
    element(3, text="Login"),
    element(4, text="Off", disabled=True),
    element(5, "p", "some text", interactive=False),
)


def play(agent_kind: str, parameters: dict[str, Any], pages: list[Observation]) -> list[Action]:
    async def steps() -> list[Action]:
        agent = make_agent(agent_kind, parameters)
        await agent.reset(TASK, 7)
        try:
            return [(await agent.act(seen)).action for seen in pages]
        finally:
            await agent.close()

    return asyncio.run(steps())


def test_what_is_drawn_from_is_what_a_visitor_could_do() -> None:
    actions = sensible_actions(FORM, frozenset(PAGE_ACTIONS))
    assert Click(element=3) in actions
    assert Fill(element=1, text="ann") in actions
    assert Press(element=1, key="Enter") in actions
    assert SelectOption(element=2, option="blue") in actions
    assert {getattr(action, "element", None) for action in actions} == {1, 2, 3, None}
    assert {"report_infeasible", "wait", "answer"}.isdisjoint(action.kind for action in actions)
    assert Answer(text="ann") in sensible_actions(FORM, frozenset(WEB_ACTIONS))


def test_only_allowed_kinds_are_drawn_and_there_is_always_one() -> None:
    assert {a.kind for a in sensible_actions(FORM, frozenset({"click"}))} == {"click"}
    assert sensible_actions(page(), frozenset({"click"}))


def test_the_same_seed_draws_the_same_and_every_action_is_drawn() -> None:
    drawn = play("random", {}, [FORM] * 600)
    assert drawn == play("random", {}, [FORM] * 600)
    possible = sensible_actions(FORM, frozenset(TASK.actions))
    assert all(action in drawn for action in possible)
    share = drawn.count(Click(element=3)) / len(drawn)
    assert share == pytest.approx(1 / len(possible), abs=0.05)


def recorded(action: Action, seen: Observation) -> dict[str, Any]:
    looks = {name: look.model_dump() for name, look in looks_of(action, seen).items()}
    return {"action": action.model_dump(), "looks": looks, "error": None, "index": 0}


def test_actions_are_done_again_on_what_looks_the_same() -> None:
    steps = [recorded(Fill(element=1, text="ann"), FORM), recorded(Click(element=3), FORM)]
    renumbered = page(*(e.model_copy(update={"id": e.id + 40}) for e in FORM.elements))
    assert play("replay", {"actions": steps}, [renumbered] * 2) == [
        Fill(element=41, text="ann"),
        Click(element=43),
    ]


def test_of_several_alike_the_same_one_is_found() -> None:
    twins = page(*(element(n, text="x") for n in (1, 2, 3)), element(4, text="y"))
    again = page(element(9, text="y"), *(element(n, text="x") for n in (5, 6, 7)))
    drag = Drag(element=2, onto=4)
    assert play("replay", {"actions": [recorded(drag, twins)]}, [again]) == [
        Drag(element=6, onto=9)
    ]


def test_an_element_that_has_changed_a_little_is_found_and_a_stranger_is_not() -> None:
    look = looks_of(Click(element=1), FORM)["element"]
    moved = element(8, "input", attributes={"type": "email", "id": "user"})
    assert find(look, page(moved)) == moved
    assert find(look, page(element(8, "input", attributes={"id": "other"}))) is None
    assert find(look, page(moved, moved.model_copy(update={"id": 9}))) is None


def test_a_page_without_the_element_and_the_end_of_the_recording_are_told() -> None:
    steps = [recorded(Click(element=3), FORM)]
    with pytest.raises(AgentError, match=r"action 1 of the recording, click, .* button 'Login'"):
        play("replay", {"actions": steps}, [page(element(1, text="Register"))])
    with pytest.raises(AgentError, match="the recording ends after 1 actions"):
        play("replay", {"actions": steps}, [FORM, FORM])


def test_bare_actions_are_done_by_their_ids() -> None:
    bare = [{"kind": "click", "element": 3}, {"kind": "scroll", "dy": 5}]
    assert [a.kind for a in play("replay", {"actions": bare}, [FORM] * 2)] == ["click", "scroll"]
    with pytest.raises(AgentError, match="done on element 3"):
        play("replay", {"actions": bare}, [page()])


def test_a_description_tells_recordings_apart_without_holding_them() -> None:
    one, other = (
        describe_agent("replay", {"actions": [{"kind": "click", "element": n}]}) for n in (1, 2)
    )
    assert one["actions"] == other["actions"] == 1
    assert one != other


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "give either the episode or the actions"),
        ({"actions": []}, "at least 1"),
        ({"actions": [{"kind": "eval"}]}, "actions.0"),
        ({"episode": "x"}, "episode"),
        ({"episode": "7" * 32, "actions": [{"kind": "back"}]}, "either"),
    ],
)
def test_wrong_parameters_of_a_replay_are_one_line(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        describe_agent("replay", parameters)
    assert "\n" not in str(error.value)


def test_a_recorded_episode_of_the_same_tenant_is_read_from_its_trace(tenant: TenantId) -> None:
    trace = [
        recorded(Click(element=3), FORM),
        {"action": None, "error": "it made no sense", "index": 1},
    ]
    with tenant_session(tenant) as session:
        models.register(session, "rules", "1.0.0", "rule-based", {}, check=describe_agent)
        job = RunBenchmark(tasks=("click-test",), seeds=(1, 2), models=("rules",))
        create_run(session, job, no_test, lambda version: None)
        played, waiting = session.scalars(sa.select(Episode.id).order_by(Episode.seed))
        session.execute(sa.update(Episode).where(Episode.id == played).values(trace=trace))
    with tenant_session(tenant) as session:
        read = with_recording(session, "replay", {"episode": str(played)})
        assert play("replay", dict(read), [FORM]) == [Click(element=3)]
        assert with_recording(session, "llm", {"episode": 1}) == {"episode": 1}
        with pytest.raises(ValueError, match="has no recorded actions"):
            with_recording(session, "replay", {"episode": str(waiting)})
    other = create_tenant(f"test-{uuid4()}")
    with tenant_session(other) as session, pytest.raises(LookupError, match="no episode"):
        with_recording(session, "replay", {"episode": str(played)})


def no_test(session: Session, split: AbSplit) -> Chooser:
    raise AssertionError("this run names its models")


TEXTS = st.sampled_from(["", "a", "b"])


@given(st.lists(st.tuples(st.sampled_from(["a", "button"]), TEXTS, TEXTS), min_size=1, max_size=8))
def test_every_element_of_a_page_is_found_again_by_its_look(
    shown: list[tuple[str, str, str]],
) -> None:
    elements = [
        element(n, tag, text, attributes={"id": name} if name else {})
        for n, (tag, text, name) in enumerate(shown, start=1)
    ]
    seen = page(*elements)
    for one in elements:
        assert find(looks_of(Click(element=one.id), seen)["element"], seen) == one
