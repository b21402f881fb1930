"""What each language model was billed, why calls have no price, and one-hour cache writes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from migrations.walls import wall

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_model_costs",
        sa.Column("tenant_id", sa.Uuid(), sa.ForeignKey("mlops.tenants.id"), nullable=False),
        sa.Column("hour", sa.TIMESTAMP(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("provider", "llm_model", "gap")),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("llm_calls", "simulated_calls", "cost_nanos")
        ),
        sa.PrimaryKeyConstraint("tenant_id", "hour", "provider", "llm_model", "gap"),
        schema="mlops",
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON mlops.llm_model_costs TO mlops_app")
    wall("llm_model_costs")
    op.add_column(
        "price_overrides",
        sa.Column("cache_write_1h", sa.Numeric(15, 6), nullable=True),
        schema="mlops",
    )
    _sum_again_what_can_be()


def _sum_again_what_can_be() -> None:
    """Hours whose events are all there are marked: the workers sum them, newest first.

    Of an hour that is closed the events are gone, and its calls stay without a language model.
    """
    # The wall stops the owner as well, and this is for all tenants.
    for table in ("tenants", "model_performance", "dirty_hours"):
        op.execute(f"ALTER TABLE mlops.{table} NO FORCE ROW LEVEL SECURITY")
    op.execute(
        "INSERT INTO mlops.dirty_hours (tenant_id, hour) SELECT DISTINCT p.tenant_id, p.hour"
        " FROM mlops.model_performance p JOIN mlops.tenants t ON t.id = p.tenant_id"
        " WHERE p.llm_calls > 0 AND (t.events_from IS NULL OR p.hour >= t.events_from)"
        " ON CONFLICT DO NOTHING"
    )
    for table in ("tenants", "model_performance", "dirty_hours"):
        op.execute(f"ALTER TABLE mlops.{table} FORCE ROW LEVEL SECURITY")
