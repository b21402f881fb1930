"""What a test is, as its author writes it and as it is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from shared.abtest.allocation import Allocation, require_least_weights
from shared.abtest.plan import Plan
from shared.abtest.slots import SlotError, slot_counts
from shared.abtest.states import AbTestError
from shared.abtest.targeting import MOST_CONDITIONS, Condition, Text, is_utf_8
from shared.jobs.contracts import one_line
from shared.redaction import redacted_name
from shared.telemetry.events import is_name
from shared.telemetry.units import unit_bytes

FEWEST_VARIANTS: Final = 2
MOST_VARIANTS: Final = 100
LONGEST_NAME: Final = 200
MOST_FORCED: Final = 1_000
PAYLOAD_BYTES: Final = 16_384


def _payload(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("is nested too deeply to be stored") from None
    except ValueError as error:
        raise ValueError(f"holds a number that JSON does not have: {error}") from None
    if not is_utf_8(text):
        raise ValueError("holds half of a surrogate pair, which cannot be stored")
    size = len(text.encode())
    # PostgreSQL's jsonb has no NUL. A backslash of the text itself is doubled.
    if r"\u0000" in text.replace(r"\\", ""):
        raise ValueError("holds a NUL character, which cannot be stored")
    if size > PAYLOAD_BYTES:
        raise ValueError(
            f"a payload has at most {PAYLOAD_BYTES} bytes as JSON, and this has {size}"
        )
    return value


Payload = Annotated[dict[str, JsonValue], AfterValidator(_payload)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


def require_environment(environment: str) -> None:
    """Raises `ValueError` for what no test can have as its environment."""
    if not 0 < len(environment) <= LONGEST_NAME:
        raise ValueError(
            f"environment {environment[:LONGEST_NAME]!r} of {len(environment)} characters: it must"
            f" be 1 to {LONGEST_NAME}"
        )
    if not environment.isprintable():
        raise ValueError(f"environment {environment!r} must be printable characters")
    if ":" in environment:
        raise ValueError(f"environment {environment!r} has a colon, which parts the keys in Redis")


def _require_variant_name(name: str) -> None:
    """What a unit met is stored by this name, so it must come back as it is."""
    if not is_name(name):
        raise ValueError(f"variant {name!r}: its name must be printable, in one direction")
    if redacted_name(name) != name:
        # Not repeated: it may be one.
        raise ValueError(
            f"a variant's name looks like a secret, and would be stored as {redacted_name(name)!r};"
            " name it otherwise"
        )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Variant(_Part):
    """One of the ways that are compared; the first of a test is its control."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
    weight: Annotated[float, Field(allow_inf_nan=False, strict=True)]
    model: Text | None = None
    "A registered model, `name@version`; a newest version is pinned when the test is made."
    payload: Payload | None = None
    "What the variant means to whoever asks for it: a prompt, parameters."


class Namespace(_Part):
    """Tests in one namespace with shares that do not overlap have no unit in common."""

    name: Text
    first: Share
    last: Share

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.first < self.last:
            raise ValueError(f"the share from {self.first:g} to {self.last:g} is empty")
        return self


class Holdout(_Part):
    """Units that take part in no test with this holdout: the same ones in all of them."""

    name: Text
    share: Share


class Rules(_Part):
    """Who takes part, and when."""

    coverage: Share = 1.0
    "The share of each variant's units that take part: 0.01 at the begin of a ramp, 1 at its end."
    targeting: Annotated[tuple[Condition, ...], Field(max_length=MOST_CONDITIONS)] = ()
    "All must hold."
    namespace: Namespace | None = None
    holdout: Holdout | None = None
    forced: Annotated[dict[str, str], Field(max_length=MOST_FORCED)] = {}
    "Units that get a variant whatever else holds, by name; they do not count."
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    sticky: bool = False
    "Whether a unit that has met a variant keeps it when its slot moves."

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.starts_at and self.ends_at and not self.starts_at < self.ends_at:
            raise ValueError(
                f"it ends at {self.ends_at.isoformat()}, which is not after it starts at"
                f" {self.starts_at.isoformat()}"
            )
        for unit_id in self.forced:
            # Raises the ValueError that is to be told.
            unit_bytes(unit_id)
        return self


class Definition(Rules, Plan):
    """A whole test."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    environment: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)] = "production"
    variants: Annotated[tuple[Variant, ...], Field(max_length=MOST_VARIANTS)]

    @property
    def rules(self) -> Rules:
        return Rules(**{name: getattr(self, name) for name in Rules.model_fields})

    @property
    def plan(self) -> Plan:
        return Plan(**{name: getattr(self, name) for name in Plan.model_fields})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.name.isprintable():
            raise ValueError(f"name {self.name!r} must be printable characters")
        require_environment(self.environment)
        for metric, cap in self.winsorize.items():
            if cap.at is not None or cap.of_units is not None:
                raise ValueError(f"cap of {metric}: it is settled when the test starts")
        names = [variant.name for variant in self.variants]
        if len(names) < FEWEST_VARIANTS:
            raise ValueError(f"{len(names)} variants; a test has {FEWEST_VARIANTS} or more")
        for name in names:
            # Of a new test only: one that was made before this was asked for must stay readable.
            _require_variant_name(name)
            if names.count(name) > 1:
                raise ValueError(f"two variants are named {name!r}; names must be distinct")
        for variant in self.forced.values():
            if variant not in names:
                raise ValueError(f"forced variant {variant[:100]!r}; this test's are {names}")
        if self.allocation is not Allocation.FIXED and not self.sticky:
            raise ValueError(
                f"allocation {self.allocation} moves units every hour, and those that come"
                " again would get another variant; it takes a sticky test"
            )
        weights = {variant.name: variant.weight for variant in self.variants}
        try:
            slot_counts(list(weights.values()), self.coverage)
        except SlotError as error:
            raise ValueError(str(error)) from None
        if self.allocation is not Allocation.FIXED:
            require_least_weights(weights, self.least_share)
            if idle := [name for name, weight in weights.items() if not weight]:
                raise ValueError(
                    f"weight 0 of {idle[0]!r}: the weights never follow the results of one that"
                    " gets no unit; expected more than 0 of each"
                )
        return self


def define(given: Mapping[str, Any]) -> Definition:
    """The definition in `given`. Raises `AbTestError` that names the first thing wrong with it."""
    variants = given.get("variants")
    # A thousand of them would all be read before the count is looked at.
    if isinstance(variants, Sequence) and len(variants) > MOST_VARIANTS:
        raise AbTestError(
            f"{len(variants)} variants; a test has {FEWEST_VARIANTS} to {MOST_VARIANTS}"
        )
    try:
        return Definition.model_validate(dict(given))
    except ValidationError as error:
        raise AbTestError(one_line(error)) from None


def checked_rules(given: Mapping[str, Any]) -> Rules:
    """As `define`, of the rules alone."""
    try:
        return Rules.model_validate(dict(given))
    except ValidationError as error:
        raise AbTestError(one_line(error)) from None
