"""The configuration of versions as a document that another installation can take in.

What was measured, stated or deployed, stages and aliases are not in it: they belong to where they
came about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from sqlalchemy.orm import Session

from shared.references import near
from shared.registry.errors import RegistryError
from shared.registry.lineage import Lineage, lineage_of
from shared.registry.models import CheckAgent, key, register, resolve
from shared.registry.tables import ModelVersion
from shared.registry.versions import parse_version

SCHEMA_VERSION: Final = 1
_MOST_MODELS: Final = 1_000


class DocumentError(RegistryError):
    """A document that cannot be taken in, and the way to the place where it is wrong."""

    def __init__(self, where: tuple[str | int, ...], said: str) -> None:
        way = ".".join(map(str, where))
        super().__init__(f"{way}: {said}" if way else said)
        self.where = where


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LineageDocument(_Part):
    parent: str | None = None
    "`name@version`"
    dataset_version: str | None = None
    prompt_version: str | None = None
    evaluation_runs: list[str] = Field(default_factory=list)
    "Identifiers of benchmark runs, which may be known to another installation only."


class VersionDocument(_Part):
    name: str
    version: str
    description: str = ""
    agent: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    lineage: LineageDocument = Field(default_factory=LineageDocument)

    @property
    def key(self) -> str:
        return f"{self.name}@{self.version}"


class ModelsDocument(_Part):
    schema_version: Literal[1] = SCHEMA_VERSION
    models: list[VersionDocument] = Field(min_length=1, max_length=_MOST_MODELS)


@dataclass(frozen=True)
class Imported:
    """A version of a document, and whether it was not there before."""

    version: ModelVersion
    made: bool


def document_of(session: Session, versions: Sequence[ModelVersion]) -> ModelsDocument:
    """The configuration of these versions, one at least."""
    return ModelsDocument(models=[_described(session, one) for one in versions])


def as_json(document: ModelsDocument) -> str:
    return json.dumps(document.model_dump(), indent=2, ensure_ascii=False) + "\n"


def as_yaml(document: ModelsDocument) -> str:
    return yaml.dump(
        document.model_dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )


def parsed(data: Any) -> ModelsDocument:
    """The document that plain data is. Raises `DocumentError` for the first mistake."""
    if not isinstance(data, dict):
        raise DocumentError((), "expected a mapping with `schema_version` and `models`")
    given = data.get("schema_version")
    if given != SCHEMA_VERSION or isinstance(given, bool):
        said = (
            f"schema version {given!r:.60} is not known"
            if "schema_version" in data
            else "the document says no schema_version"
        )
        raise DocumentError(("schema_version",), f"{said}; this reads {SCHEMA_VERSION}")
    try:
        document = ModelsDocument.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = first["loc"]
        raise DocumentError(where, _said(where, first["type"], first["msg"])) from None
    keys: dict[str, int] = {}
    for number, one in enumerate(document.models):
        if one.key in keys:
            before = keys[one.key]
            raise DocumentError(("models", number), f"{one.key} is there as models.{before} too")
        keys[one.key] = number
    return document


def take_in(session: Session, document: ModelsDocument, *, check: CheckAgent) -> list[Imported]:
    """Register every version of a document, parents first; those that are there stay as they are.

    Raises `DocumentError` where a version cannot be registered, or is there as something else; the
    caller's transaction then has to end without what was registered before it.
    """
    numbers = {one.key: number for number, one in enumerate(document.models)}
    found: dict[str, Imported] = {}
    for one in _parents_first(document):
        try:
            found[one.key] = _taken_in(session, one, check)
        except RegistryError as error:
            raise DocumentError(("models", numbers[one.key]), str(error)) from None
    return [found[one.key] for one in document.models]


def _taken_in(session: Session, one: VersionDocument, check: CheckAgent) -> Imported:
    parent = one.lineage.parent
    lineage = Lineage(
        parent_id=None if parent is None else _parent(session, parent).id,
        dataset_version=one.lineage.dataset_version,
        prompt_version=one.lineage.prompt_version,
        evaluation_runs=tuple(map(_run, one.lineage.evaluation_runs)),
    )
    before = _there(session, one)
    registered = register(
        session,
        one.name,
        one.version,
        one.agent,
        one.parameters,
        one.description,
        check=check,
        lineage=lineage,
    )
    if before is not None and (registered.description, lineage_of(registered)) != (
        one.description,
        lineage,
    ):
        raise RegistryError(f"{one.key} is registered with another description or lineage")
    return Imported(registered, made=before is None)


def _parent(session: Session, reference: str) -> ModelVersion:
    if "@" not in reference:
        raise RegistryError(f"parent {reference[:200]!r}: expected name@version")
    return resolve(session, reference)


def _there(session: Session, one: VersionDocument) -> ModelVersion | None:
    try:
        # What is no version would be looked for as an alias.
        parse_version(one.version)
        return resolve(session, one.key)
    except ValueError:
        return None


def _run(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RegistryError(
            f"evaluation run {text[:60]!r} is no identifier: expected all of its 32 digits"
        ) from None


def _described(session: Session, version: ModelVersion) -> VersionDocument:
    lineage = lineage_of(version)
    parent = lineage.parent_id and session.get_one(ModelVersion, lineage.parent_id)
    return VersionDocument(
        name=version.model.name,
        version=version.version,
        description=version.description,
        agent=version.agent,
        parameters=version.parameters,
        lineage=LineageDocument(
            parent=key(parent) if parent else None,
            dataset_version=lineage.dataset_version,
            prompt_version=lineage.prompt_version,
            evaluation_runs=[str(run) for run in lineage.evaluation_runs],
        ),
    )


def _parents_first(document: ModelsDocument) -> list[VersionDocument]:
    waiting = {one.key: one for one in document.models}
    ordered: list[VersionDocument] = []
    while waiting:
        ready = [one for one in waiting.values() if one.lineage.parent not in waiting]
        if not ready:
            number = next(n for n, one in enumerate(document.models) if one.key in waiting)
            raise DocumentError(
                ("models", number, "lineage", "parent"),
                f"each of {', '.join(sorted(waiting))[:200]} is made from another of them",
            )
        ordered += ready
        for one in ready:
            del waiting[one.key]
    return ordered


def _said(where: tuple[str | int, ...], kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        part = (
            LineageDocument
            if "lineage" in where[:-1]
            else VersionDocument
            if where[0] == "models"
            else ModelsDocument
        )
        return f"unknown key; {near(str(where[-1]), list(part.model_fields))}"
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ")


class _Dumper(yaml.SafeDumper):
    """YAML that is the same data by YAML 1.1, by 1.2, and by readers of a part of either."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # 1e3 and 09 are texts in YAML 1.1 and numbers in 1.2; unquoted, U+0085 reads back as a space.
    quoted = text[:1] in tuple("+-.0123456789") or not text.isprintable()
    style = '"' if quoted else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
