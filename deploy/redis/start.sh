#!/bin/sh
# The password goes to the server through its input: a command line can be read by other processes.
set -eu

exec docker-entrypoint.sh redis-server - <<CONFIGURATION
requirepass $REDIS_PASSWORD
dir /data
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
CONFIGURATION
