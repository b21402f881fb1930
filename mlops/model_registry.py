"""`ModelRegistry`: versions of models, what is known of each, and which one is in production.

from mlops import ModelRegistry

registry = ModelRegistry()
model_id = registry.register_model("buyer", "openai", "gpt-4.1-mini", version="1.0.0")
registry.deploy_model(model_id, target="production")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from mlops.evaluations.figures import is_simulated
from mlops.models.files import Format, formatted, read_document, written
from mlops.models.parameters import agent_parameters, nanos_stated
from mlops.models.registered import RegisteredModel, registered
from shared.abtest.inference.multiplicity import holm
from shared.database import TenantId, tenant_session
from shared.evaluation.agents.registry import describe_agent
from shared.evaluation.results import versions as results
from shared.evaluation.results.reading import run_named, score_of_each_unit
from shared.registry import aliases, deploying, models, stated
from shared.registry.documents import DocumentError, document_of, take_in
from shared.registry.errors import RegistryError
from shared.registry.history import history
from shared.registry.lineage import Lineage, ancestors, lineage_of, said
from shared.registry.ranking import Figures, Ranking, rank, required_weights
from shared.registry.stages import Stage, next_stage, stage_of
from shared.registry.tables import ModelVersion
from shared.tenancy.tenants import current_tenant


@dataclass(frozen=True)
class Deployment:
    """What a deployment has changed."""

    model: RegisteredModel
    came_from: Stage
    moved: bool
    "False where it was there already."
    archived: tuple[str, ...]
    "Other versions, which were in production before."


@dataclass(frozen=True)
class Placement:
    """A version was put somewhere."""

    target: Stage
    came_from: Stage
    deployed_by: str
    deployed_at: datetime


@dataclass(frozen=True)
class Change:
    """An entry of the audit trail."""

    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class ModelComparison:
    """Versions side by side; the first is what the others are held against."""

    models: tuple[RegisteredModel, ...]
    measured: Mapping[str, results.Measured]
    "Of each version, over all that it was scored on."
    differences: Mapping[str, results.Difference]
    "Of each but the first, over what both were scored on; p-values are adjusted for their number."
    simulated: frozenset[str]
    "Those whose prices are simulated."


@dataclass(frozen=True)
class ModelRanking:
    """Versions by their score, over the tasks and seeds that all of them were scored on."""

    ranking: Ranking
    measured: Mapping[str, results.Measured]
    "Over what they have in common."
    played: Mapping[str, int]
    "How many tasks and seeds each of them was scored on."
    simulated: frozenset[str]


class ModelRegistry:
    """The models of one tenant: that of `MLOPS_API_KEY` or `MLOPS_TENANT` unless one is given.

    A `model_id` is an identifier or the beginning of one, `name@version`, `name@alias`, or `name`
    for the newest version. Each call is a transaction; all raise `RegistryError`, which says in
    one line what is wrong, and have changed nothing then.
    """

    def __init__(self, tenant_id: TenantId | None = None) -> None:
        self._tenant_id = tenant_id or current_tenant()

    def register_model(
        self,
        name: str,
        llm_provider: str | None = None,
        llm_model: str | None = None,
        version: str = "1.0.0",
        temperature: float | None = None,
        description: str = "",
        *,
        agent: str = "llm",
        parameters: Mapping[str, Any] | None = None,
        parent: str | None = None,
        dataset_version: str | None = None,
        prompt_version: str | None = None,
        evaluation_runs: Iterable[str] | None = None,
    ) -> str:
        """Register a version, and return its identifier; the same again is the one that is there.

        A provider other than `openai` needs the parameters `base_url` and `api_key_env` as well.
        """
        whole = agent_parameters(llm_provider, llm_model, temperature, parameters or {})
        with tenant_session(self._tenant_id) as session:
            given = {
                "parent": parent,
                "dataset_version": dataset_version,
                "prompt_version": prompt_version,
                "evaluation_runs": evaluation_runs,
            }
            made = models.register(
                session,
                name,
                version,
                agent,
                whole,
                description,
                check=describe_agent,
                lineage=_lineage(session, given),
            )
            return str(made.id)

    def update_model(
        self,
        model_id: str,
        *,
        description: str | None = None,
        parent: str | None = None,
        dataset_version: str | None = None,
        prompt_version: str | None = None,
        evaluation_runs: Iterable[str] | None = None,
    ) -> RegisteredModel:
        """Say something else of a version that has not been in production; None leaves it."""
        given = {
            "parent": parent,
            "dataset_version": dataset_version,
            "prompt_version": prompt_version,
            "evaluation_runs": evaluation_runs,
        }
        with tenant_session(self._tenant_id) as session:
            version = models.resolve(session, model_id)
            lineage = _lineage(session, given, lineage_of(version))
            models.change(session, version, description=description, lineage=lineage)
            return registered(session, [version])[0]

    def update_model_performance(
        self,
        model_id: str,
        success_rate: float | None = None,
        avg_completion_time: float | None = None,
        cost_per_task: object = None,
        *,
        tasks: int | None = None,
        note: str = "",
    ) -> RegisteredModel:
        """State how a version does: a share from 0 to 1, seconds and dollars of a task.

        It is kept as stated, with who and when, and is no measurement: nothing is ranked by it.
        """
        nanos = nanos_stated(cost_per_task)
        with tenant_session(self._tenant_id) as session:
            version = models.resolve(session, model_id)
            stated.state_performance(
                session,
                version,
                success_rate=success_rate,
                completion_seconds=avg_completion_time,
                cost_nanos=nanos,
                tasks=tasks,
                note=note,
            )
            return registered(session, [version])[0]

    def deploy_model(
        self, model_id: str, target: str = "production", *, keep_others: bool = False
    ) -> Deployment:
        """Bring a version to `development`, `staging` or `production`.

        In production it takes the place of the model's other versions, which are archived unless
        they are kept. From its first time there nothing of it changes any more.
        """
        with tenant_session(self._tenant_id) as session:
            version = models.resolve(session, model_id)
            return _deployed(session, version, target, keep_others=keep_others)

    def promote_model(self, model_id: str, *, keep_others: bool = False) -> Deployment:
        """Bring a version from development to staging, or from there to production."""
        with tenant_session(self._tenant_id) as session:
            version = models.resolve(session, model_id)
            models.lock(session, version.model_id)
            target = next_stage(Stage(version.stage))
            return _deployed(session, version, target, keep_others=keep_others)

    def archive_model(self, model_id: str) -> RegisteredModel:
        """Put a version away; it can be deployed again."""
        with tenant_session(self._tenant_id) as session:
            version = models.resolve(session, model_id)
            deploying.archive(session, version)
            return registered(session, [version])[0]

    def set_alias(self, model_id: str, alias: str) -> str | None:
        """Let `name@alias` lead to a version; returns the one that it led to before."""
        with tenant_session(self._tenant_id) as session:
            before = aliases.set_alias(session, models.resolve(session, model_id), alias)
            return None if before is None else models.key(before)

    def remove_alias(self, model_id: str, alias: str) -> str:
        """Let an alias of a model lead nowhere; returns the version that it led to."""
        with tenant_session(self._tenant_id) as session:
            return models.key(
                aliases.remove_alias(session, models.resolve(session, model_id), alias)
            )

    def get_model(self, model_id: str) -> RegisteredModel:
        with tenant_session(self._tenant_id) as session:
            return registered(session, [models.resolve(session, model_id)])[0]

    def get_lineage(self, model_id: str) -> tuple[str, ...]:
        """What a version was made from: its parent, that one's parent, and so on."""
        with tenant_session(self._tenant_id) as session:
            found = ancestors(session, models.resolve(session, model_id))
            return tuple(map(models.key, found))

    def get_deployments(self, model_id: str) -> list[Placement]:
        """Where a version was put, the newest first."""
        with tenant_session(self._tenant_id) as session:
            return [
                Placement(Stage(one.target), Stage(one.came_from), one.deployed_by, one.deployed_at)
                for one in deploying.deployments(session, models.resolve(session, model_id))
            ]

    def get_measured(self, model_id: str, benchmark: str = "") -> results.Measured:
        """What benchmark episodes have shown of a version, over all its runs; of all benchmarks
        unless one is named."""
        with tenant_session(self._tenant_id) as session:
            [units] = _played(session, [models.resolve(session, model_id)], benchmark).values()
            return results.measured(units)

    def simulated(self, measured: Mapping[str, results.Measured]) -> frozenset[str]:
        """Those of the versions whose prices are simulated, by `name@version`."""
        with tenant_session(self._tenant_id) as session:
            return _simulated(session, measured)

    def list_models(
        self, status: str | None = None, name: str | None = None
    ) -> list[RegisteredModel]:
        """All versions, by name and precedence; those in one stage, or of one model."""
        stage = None if status is None else stage_of(status)
        with tenant_session(self._tenant_id) as session:
            found = [
                one
                for one in models.versions(session)
                if (stage is None or one.stage == stage) and name in (None, one.model.name)
            ]
            return registered(session, found)

    def compare_models(self, *model_ids: str, benchmark: str = "") -> ModelComparison:
        """Hold two or more versions against the first, where the same tasks and seeds were scored.

        Over all benchmarks unless one is named.
        """
        with tenant_session(self._tenant_id) as session:
            found = _distinct(session, model_ids)
            if len(found) < 2:
                raise RegistryError("give two versions to compare, or more")
            played = _played(session, found, benchmark)
            base, *others = played
            measured = {name: results.measured(units) for name, units in played.items()}
            return ModelComparison(
                models=tuple(registered(session, found)),
                measured=measured,
                differences=_adjusted(
                    {name: results.difference(played[base], played[name]) for name in others}
                ),
                simulated=_simulated(session, measured),
            )

    def rank_models(
        self,
        *model_ids: str,
        weights: Mapping[str, float] | None = None,
        benchmark: str = "",
    ) -> ModelRanking:
        """Rank versions by what was measured of them: all that are not archived unless some are
        named.

        Over the tasks and seeds that all of them were scored on; a version that was not evaluated
        is unknown. `weights` are those of success, cost and latency.
        """
        required_weights(weights)
        with tenant_session(self._tenant_id) as session:
            found = (
                _distinct(session, model_ids)
                if model_ids
                else [one for one in models.versions(session) if one.stage != Stage.ARCHIVED]
            )
            played = _played(session, found, benchmark)
            tried = [name for name, units in played.items() if units]
            shared = dict(zip(tried, results.common([played[name] for name in tried]), strict=True))
            _require_common(shared, played)
            measured = {name: results.measured(shared.get(name, {})) for name in played}
            return ModelRanking(
                ranking=rank([_figures(name, one) for name, one in measured.items()], weights),
                measured=measured,
                played={name: len(units) for name, units in played.items()},
                simulated=_simulated(session, measured),
            )

    def export_models(
        self, *model_ids: str, path: str | Path | None = None, format: Format = "yaml"
    ) -> str:
        """The configuration of versions as YAML or JSON; written to a file or folder if one is
        named, all of it or nothing. Returns the text."""
        return self._exported(model_ids, path, format)[0]

    def export_to(self, path: str | Path, *model_ids: str, format: Format = "yaml") -> Path:
        """Write the configuration of versions to a file, or into a folder; returns its path."""
        target = self._exported(model_ids, path, format)[1]
        assert target is not None  # a path was given
        return target

    def import_models(self, path: str | Path, *, dry_run: bool = False) -> dict[str, bool]:
        """Register every version of a file that was exported, or none of them.

        Returns which of them were not there before. All are in development; with `dry_run` nothing
        is stored.
        """
        document = read_document(Path(path))
        try:
            with tenant_session(self._tenant_id) as session, session.begin_nested() as attempt:
                taken = take_in(session, document, check=describe_agent)
                found = {models.key(one.version): one.made for one in taken}
                if dry_run:
                    attempt.rollback()
                return found
        except DocumentError as error:
            raise RegistryError(f"{str(path)[:200]}: {error}") from None

    def history(self, model_id: str) -> list[Change]:
        """Every change of a version, the oldest first."""
        with tenant_session(self._tenant_id) as session:
            return [
                Change(one.at, one.actor, one.action, one.subject, one.details)
                for one in history(session, models.resolve(session, model_id))
            ]

    def _exported(
        self, model_ids: Sequence[str], path: str | Path | None, form: Format
    ) -> tuple[str, Path | None]:
        with tenant_session(self._tenant_id) as session:
            found = _distinct(session, model_ids)
            if not found:
                raise RegistryError("give a version to export, or more")
            text = formatted(document_of(session, found), form)
            name = models.key(found[0]) if len(found) == 1 else "models"
        return text, None if path is None else written(Path(path), text, name, form)


def _lineage(session: Session, given: Mapping[str, Any], before: Lineage | None = None) -> Lineage:
    return said(
        lambda reference: models.resolve(session, reference),
        lambda reference: run_named(session, reference),
        given,
        before or Lineage(),
    )


def _deployed(
    session: Session, version: ModelVersion, target: str, *, keep_others: bool
) -> Deployment:
    others = deploying.Others.KEEP if keep_others else deploying.Others.ARCHIVE
    done = deploying.deploy(session, version, target, others=others)
    return Deployment(
        registered(session, [version])[0],
        done.came_from,
        done.moved,
        tuple(map(models.key, done.archived)),
    )


def _distinct(session: Session, model_ids: Sequence[str]) -> list[ModelVersion]:
    found = (models.resolve(session, one) for one in model_ids)
    return list({one.id: one for one in found}.values())


def _played(
    session: Session, found: Sequence[ModelVersion], benchmark: str
) -> dict[str, results.Units]:
    units = score_of_each_unit(session, [one.id for one in found], benchmark)
    return {models.key(one): units[one.id] for one in found}


def _adjusted(
    differences: Mapping[str, results.Difference],
) -> dict[str, results.Difference]:
    """With the p-values that hold for all comparisons together (Holm)."""
    known = {
        name: one.success.p_value
        for name, one in differences.items()
        if one.success.p_value is not None
    }
    adjusted = dict(zip(known, holm(list(known.values())), strict=True))
    return {
        name: replace(one, success=replace(one.success, p_value=adjusted.get(name)))
        for name, one in differences.items()
    }


def _require_common(
    shared: Mapping[str, results.Units], played: Mapping[str, results.Units]
) -> None:
    if len(shared) > 1 and not any(shared.values()):
        counts = ", ".join(f"{name} {len(played[name]):,}" for name in shared)
        raise RegistryError(
            "no task and seed was scored for every one of them, so none is better; scored were:"
            f" {counts[:500]}"
        )


def _figures(name: str, one: results.Measured) -> Figures:
    return Figures(name, one.success.rate, one.cost_nanos.value, one.seconds.value)


def _simulated(session: Session, measured: Mapping[str, results.Measured]) -> frozenset[str]:
    return frozenset(
        name for name, one in measured.items() if is_simulated(session, name, one.llm_calls)
    )
