"""Alembic migrations of the schema `mlops`."""
