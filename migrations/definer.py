"""The role that looks over the wall, joined for as long as a migration needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

DEFINER_ROLE = "mlops_definer"


def can_become(connection: sa.Connection, member: str, role: str) -> bool:
    """Whether `member` may SET ROLE to `role`; a superuser always may."""
    # Before PostgreSQL 16 every member might; since then one may be a member only to administer.
    return bool(
        connection.scalar(
            sa.text(
                "SELECT pg_has_role(CAST(:member AS name), CAST(:role AS name),"
                " CASE WHEN current_setting('server_version_num')::int >= 160000"
                " THEN 'SET' ELSE 'MEMBER' END)"
            ),
            {"member": member, "role": role},
        )
    )


@contextmanager
def joined_to_definer(connection: sa.Connection) -> Iterator[None]:
    """Be a member of the definer's role, to give it functions or to replace those it owns.

    Whoever is a member sees the rows of all tenants, so the membership ends with the block, in
    the same transaction. One that an administrator gave beforehand is theirs to take back.
    """
    owner = str(connection.scalar(sa.text("SELECT current_user")))
    joins = not can_become(connection, owner, DEFINER_ROLE)
    if joins:
        connection.exec_driver_sql(f"GRANT {DEFINER_ROLE} TO CURRENT_USER")
    yield
    if joins:
        connection.exec_driver_sql(f"REVOKE {DEFINER_ROLE} FROM CURRENT_USER")
