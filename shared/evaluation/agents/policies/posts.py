"""Posts: find those of a user, then use their controls."""

from __future__ import annotations

import re

from shared.evaluation.agents.policies.answers import PATIENCE, click_or_wait, submit, wait_for
from shared.evaluation.agents.policies.looking import first_saying, following, has_class, until_next
from shared.evaluation.agents.policies.memory import Memory
from shared.evaluation.protocol import (
    Action,
    Click,
    Observation,
    ReportInfeasible,
)

_POSTS = re.compile(
    r'^Click the "(?P<button>[^"]+)" button on (?:all|(?P<count>\d+)) posts? '
    r"by (?P<user>@\S+) and then click Submit\.?$"
)
_POST = re.compile(r'^For the user (?P<user>@\S+), click on the "(?P<button>[^"]+)" button\.?$')
_ICONS_OF_A_POST = {"Reply": "reply", "Retweet": "retweet", "Like": "like"}


def use_post(observation: Observation, memory: Memory) -> Action | None:
    """The control of the user's post, from its icons or from its menu."""
    if not (named := _POST.match(observation.goal)):
        return None
    author = first_saying(named["user"], "username", observation)
    if author is None:
        return wait_for(f"a post by {named['user']}", memory)
    post = until_next("username", following(author, observation))
    button = named["button"]
    if icon := _ICONS_OF_A_POST.get(button):
        found = next((e for e in post if has_class(e, icon)), None)
        return click_or_wait(found, memory, f"the icon {button!r}")
    entry = next((e for e in post if e.tag == "li" and e.text.startswith(button)), None)
    if entry is not None:
        return Click(element=entry.id)
    more = next((e for e in post if has_class(e, "more")), None)
    if more is not None and memory.clicks_at_the_end(more.id) > PATIENCE:
        return ReportInfeasible(reason=f"the menu of the post has no entry {button!r}")
    # A first click can miss an icon that changes under the mouse, so the menu is asked again.
    return click_or_wait(more, memory, "the menu of the post")


def use_posts(observation: Observation, memory: Memory) -> Action | None:
    """The icon of so many of the user's posts, or of all; then submit."""
    if not (named := _POSTS.match(observation.goal)):
        return None
    page = observation.elements
    wanted = named["button"].lower()
    authors = [e for e in page if has_class(e, "username") and e.text == named["user"]]
    posts = [until_next("username", following(author, observation)) for author in authors]
    icons = [icon for post in posts for icon in post if has_class(icon, wanted)]
    if not icons:
        return wait_for(f"a post by {named['user']}", memory)
    for icon in icons[: int(named["count"] or len(icons))]:
        if not has_class(icon, "active"):
            return Click(element=icon.id)
    return submit(observation, memory)
