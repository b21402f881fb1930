#!/bin/sh
# Run once by the PostgreSQL image on an empty data folder: the owner of the database, and the
# login of the application, which owns nothing. The migrations grant it what it may do.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password MLOPS_OWNER_PASSWORD
\getenv app_password MLOPS_APP_PASSWORD
CREATE ROLE mlops_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE ROLE mlops_app_login LOGIN PASSWORD :'app_password';
CREATE DATABASE mlops OWNER mlops_owner;
SQL
