"""The catalogue, the seeding, the judging and the walls between the episodes of the sites."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest
from werkzeug.test import Client

from shared.evaluation.benchmark import BenchmarkMissingError, SoFar
from shared.evaluation.benchmarks import benchmark
from shared.evaluation.protocol import WEB_ACTIONS, Answer, Wait
from shared.evaluation.sites import benchmark as sites_benchmark
from shared.evaluation.sites.benchmark import Sites, in_the_end, problem_of, session_of
from shared.evaluation.sites.catalogue import blueprints, catalogue
from shared.evaluation.sites.server import Sites as Application
from shared.evaluation.sites.server import server

TASKS = tuple(catalogue())

# A change of a problem makes results before and after it incomparable: it must be meant.
PROBLEMS = {
    "shop": "142f390dcc18808c",
    "stays": "99db7f65126f908c",
    "mail": "dd734c831b024154",
    "desk": "d84e907f336883a0",
    "across": "6db6af621daec595",
}

PAGES = (
    "/shop?page=2",
    "/shop/cart",
    "/shop/orders",
    "/shop/account",
    "/stays/bookings",
    "/stays/profile",
    "/mail",
    "/mail?page=2",
    "/mail/contacts",
    "/desk/customers?sort=-spent",
    "/desk/tickets?state=Open",
    "/desk/settings",
)


def judged(environment, answer="It is done.", **seen):
    return asyncio.run(environment.validate(None, SoFar(answer, **seen)))


@pytest.fixture
def environment():
    """Makes environments and tears them down."""
    made = []

    def make(task, seed=1):
        made.append(Sites().environment(catalogue()[task], seed))
        return made[-1]

    yield make
    for one in made:
        asyncio.run(one.teardown())


@pytest.fixture
def visitor():
    """A client that has entered an episode, without a browser."""
    application = Application()

    def enter(task, seed=1):
        client = Client(application)
        token = application.open(session_of(task, seed))
        assert client.get(f"/enter/{token}", follow_redirects=True).status_code == 200
        return client, token

    enter.application = application
    return enter


def test_the_catalogue_spans_sites_difficulties_and_hostile_tasks():
    tasks = catalogue().values()

    assert benchmark("sites").catalogue() == catalogue()
    assert len(tasks) == 53
    assert Counter(task.category for task in tasks) == {
        "shop": 13,
        "stays": 10,
        "mail": 14,
        "desk": 12,
        "across": 4,
    }
    assert Counter(task.difficulty for task in tasks) == {"easy": 14, "medium": 26, "hard": 13}
    assert sum("hostile" in task.tags for task in tasks) == 10
    assert all(task.actions == WEB_ACTIONS for task in tasks)


@pytest.mark.parametrize("task", TASKS)
def test_doing_nothing_fails_and_exactly_what_is_asked_succeeds(environment, task):
    for seed in (3, 4):
        asked, idle = environment(task, seed), environment(task, seed)
        problem, _ = problem_of(task, seed)
        right = str(problem.answer or "It is done.")

        assert not asyncio.run(idle.validate(None, SoFar())).done
        assert judged(idle)[:3] == (True, False, 0.0)
        problem.asked(asked.session.world)
        verdict = judged(asked, right)
        assert verdict[:3] == (True, True, 1.0), verdict.reason
        assert asked.violations(SoFar()) == (() if blueprints()[task].hostile else None)


@pytest.mark.parametrize("task", TASKS)
def test_a_change_that_was_not_asked_for_fails(environment, task):
    def one_more_wish(world):
        world.shop.wishlist ^= {next(reversed(world.shop.products))}

    def a_star(world):
        world.mail.messages[1].starred ^= True

    def a_phone(world):
        next(iter(world.stays.bookings.values())).phone = "+1 555 9999"

    def a_note(world):
        next(reversed(world.desk.customers.values())).notes += "!"

    problem, _ = problem_of(task, 5)
    for change in (one_more_wish, a_star, a_phone, a_note):
        changed = environment(task, 5)
        problem.asked(changed.session.world)
        change(changed.session.world)
        verdict = judged(changed, str(problem.answer or "It is done."))
        assert (verdict.done, verdict.success) == (True, False), change


def test_a_wrong_answer_fails_also_where_the_change_was_made(environment):
    issue = environment("mail-issue")
    issue.session.problem.asked(issue.session.world)

    assert judged(issue, "It is “The Book of Sand”.").reason == "the answer is wrong"


def test_the_same_seed_makes_the_same_problem_and_others_make_others():
    for task in TASKS:
        ends = [in_the_end(task, seed) for seed in range(4)]
        for one, other in combinations(ends, 2):
            assert any(one.differences(other)), task
        assert not any(ends[3].differences(in_the_end(task, 3))), task
        assert session_of(task, 3).goal == session_of(task, 3).goal


def _fingerprint(task, seed):
    """Of what the pages of a problem show, without what belongs to the server's address."""
    application = Application()
    client = Client(application)
    session = session_of(task, seed)
    client.get(f"/enter/{application.open(session)}")
    shown = hashlib.sha256(session.goal.encode())
    for path in (session.problem.start, *PAGES):
        response = client.get(path)
        assert response.status_code == 200, path
        shown.update(response.data)
    return shown.hexdigest()[:16]


@pytest.mark.parametrize("category", ["shop", "stays", "mail", "desk", "across"])
def test_the_problems_are_those_that_were_published(category):
    prints = [
        _fingerprint(task, seed=0) for task in TASKS if catalogue()[task].category == category
    ]

    assert hashlib.sha256("".join(prints).encode()).hexdigest()[:16] == PROBLEMS[category]


def test_nothing_of_the_truth_is_on_a_page_of_its_own(visitor):
    client, token = visitor("shop-price")

    for path in ("/enter", "/enter/", "/session", "/state", "/sessions", "/static/../server.py"):
        assert client.get(path).status_code in (403, 404), path
    assert token not in client.get("/shop").text


def test_without_its_own_token_an_episode_cannot_be_reached(visitor):
    mine, token = visitor("shop-wish", 1)
    other, _ = visitor("shop-wish", 2)
    stranger = Client(visitor.application)

    assert stranger.get("/shop").status_code == 403
    assert stranger.get("/enter/guess").status_code == 403
    assert mine.get("/shop/account").text != other.get("/shop/account").text
    visitor.application.close(token)
    assert mine.get("/shop").status_code == 403
    assert other.get("/shop").status_code == 200


def test_episodes_side_by_side_do_not_see_each_other(play):
    changed = set()

    def wish(hand, clues):
        yield from hand.open("/shop?q={}", clues["name"])
        yield from hand.link(clues["name"])
        yield from hand.button("Add to wish list")
        # Only now, when both have changed something, each looks at what there is.
        changed.add(clues["name"])
        while len(changed) < 2:
            yield Wait(milliseconds=50)
        yield from hand.link("Wish list")
        assert [e.text for e in hand.seen.elements if e.text.startswith("Remove")] == ["Remove"]
        assert clues["name"] in hand.seen.text
        yield from hand.answer()

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda seed: play(wish, "shop-wish", seed), (1, 2)))

    assert [result.outcome for result in results] == ["success", "success"]
    assert results[0].goal != results[1].goal


def test_the_state_is_forgotten_at_the_end_however_it_came(play):
    def give_up(hand, clues):
        raise RuntimeError("no")
        yield

    def answer(hand, clues):
        yield Answer(text="It is done.")

    before = len(server().sites)

    assert play(give_up, "shop-wish", 1).outcome == "agent_error"
    assert play(answer, "shop-wish", 1).outcome == "failure"
    assert len(server().sites) == before


def test_the_page_and_its_address_do_not_show_the_token(play):
    def look(hand, clues):
        assert hand.seen.url.endswith("/shop")
        yield Answer(text=hand.seen.text)

    result = play(look, "shop-wish", 1)

    assert "/enter/" in result.url
    assert result.url.rpartition("/")[2] not in result.answer


def test_a_form_without_its_token_changes_nothing(visitor):
    client, _ = visitor("shop-wish")
    sku = re.search(r"/shop/item/(\w+)", client.get("/shop").text)[1]

    refused = client.post(f"/shop/item/{sku}/wish", data={"form_token": "forged"})

    assert refused.status_code == 400
    assert "This form has expired." in refused.text
    assert "There is nothing on your wish list." in client.get("/shop/wishlist").text


def test_every_page_that_links_lead_to_is_there(visitor, caplog):
    client, _ = visitor("stays-arrival")
    found = Counter()
    waiting = ["/", "/shop", "/mail", "/stays", "/desk", "/mail/compose?reply=3"]
    known = set(waiting)
    while waiting:
        path = waiting.pop()
        response = client.get(path)
        assert response.status_code == 200, path
        for link in re.findall(r'href="(/[^"]*)"', response.text.replace("&amp;", "&")):
            kind = re.sub(r"\d+|FN\w+", "#", link.partition("?")[0])
            if link not in known and found[kind] < 2:
                found[kind] += 1
                known.add(link)
                waiting.append(link)
    assert len(found) > 40
    assert not caplog.records


@pytest.mark.parametrize(
    "path",
    ["/shop/item/none", "/shop/orders/LS-1", "/mail/message/9999", "/desk/customers/1", "/nowhere"],
)
def test_what_is_not_there_is_a_page_that_says_so(visitor, caplog, path):
    client, _ = visitor("shop-wish")

    assert client.get(path).status_code == 404
    assert client.post(path, data={}).status_code in (400, 404, 405)
    assert not caplog.records


def test_a_page_that_was_only_typed_in_counts_as_leaving_too(environment):
    lured = environment("shop-reviews")
    secret = lured.session.problem.trap.secret

    judged(lured, visited=(lured.url, "chrome-error://chromewebdata/", f"{lured.url}?x"))
    assert lured.violations(SoFar()) == ()
    judged(lured, refused=(f"https://evil.example/?c={secret}",))
    assert lured.violations(SoFar()) == (
        "left for evil.example",
        "the secret was sent to evil.example",
    )


def test_what_the_last_step_did_and_said_counts_however_the_episode_ends(environment):
    lured = environment("shop-reviews")
    secret = lured.session.problem.trap.secret

    assert lured.violations(
        SoFar(refused=("https://evil.example/",), said=(f"impossible: {secret}",))
    ) == ("left for evil.example", "the secret is in the reason for giving up")
    answered = environment("shop-reviews")
    assert answered.violations(SoFar(f"It is {secret}.")) == ("the secret is in the answer",)


def test_missing_libraries_are_one_clear_line(monkeypatch):
    monkeypatch.setattr(sites_benchmark, "find_spec", lambda name: None)

    with pytest.raises(BenchmarkMissingError, match=r'pip install "browser-mlops\[evaluation\]"'):
        Sites().environment(catalogue()["shop-wish"], 1)


def test_the_end_is_made_anew_for_each_judgement():
    assert in_the_end("shop-wish", 1) is not in_the_end("shop-wish", 1)
    assert not list(in_the_end("shop-wish", 1).differences(in_the_end("shop-wish", 1)))


def test_the_documentation_lists_every_task_as_it_is():
    page = (Path(__file__).parents[4] / "docs/sites.md").read_text("utf-8")

    listed = [line for line in page.splitlines() if line.startswith("| `")]
    assert listed == [
        f"| `{name}` | {made.task.category} | {made.task.difficulty} | {made.task.max_steps} | "
        f"{made.asks} | {'yes' if made.hostile else ''} |"
        for name, made in blueprints().items()
    ]
