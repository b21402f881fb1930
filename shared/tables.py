"""Every table of the schema, for those who need them all: migrations and the tests of the wall."""

import shared.abtest.tables
import shared.alerts.tables
import shared.cards.tables
import shared.costs.tables
import shared.drift.tables
import shared.evaluation.tables
import shared.functions.tables
import shared.jobs.tables
import shared.registry.tables
import shared.telemetry.features.tables
import shared.telemetry.tables
import shared.tenancy.tables
import shared.tracking.tables  # noqa: F401
from shared.database import Base

metadata = Base.metadata
