from __future__ import annotations

from shared.alerts.names import bare, command, fingerprint


def test_names_with_colons_are_told_apart_and_others_are_as_they_are() -> None:
    assert fingerprint("drift", "shop", "buyer@1", "tokens") == "drift:shop:buyer@1:tokens"
    hard = [("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("a", "b%3Ac"), ("a%", "3Ab", "c")]
    assert len({fingerprint("drift", *one) for one in hard}) == len(hard)


def test_a_command_leaves_out_names_that_cannot_be_said_as_they_are() -> None:
    key = "sk-proj-" + "a1B2c3D4" * 4
    assert command(("mlops", "x"), {"--function": "it's", "--model": "m"}) == (
        "mlops x --function 'it'\"'\"'s' --model m"
    )
    for name in ("", key, "<b>", "\x1b[31m", "\u202e"):
        assert command(("mlops",), {"--model": name}) == "mlops"
    assert not set("<>[]`&\x1b\u202e") & set(bare("<a>[b]`c`&\x1b\u202e"))
