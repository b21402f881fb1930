"""The embedded default: PostgreSQL, Redis and Chromium found or started where there is none."""
