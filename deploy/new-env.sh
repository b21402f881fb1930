#!/bin/sh
# Prints a .env for docker-compose.yml with new passwords: sh deploy/new-env.sh > .env
set -eu

secret() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

for name in POSTGRES_PASSWORD MLOPS_OWNER_PASSWORD MLOPS_APP_PASSWORD REDIS_PASSWORD FLOWER_PASSWORD
do
    printf '%s=%s\n' "$name" "$(secret)"
done
