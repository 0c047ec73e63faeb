# shellcheck shell=bash
# PostgreSQL 15 or newer with trust on loopback: the role `reconciler` owns the database `reconciler`
# and may make databases for tests.

postgres_name() { echo "PostgreSQL"; }

postgres_ports() { echo "$POSTGRES_PORT"; }
postgres_address() { echo "127.0.0.1:$POSTGRES_PORT"; }

# The directory of the newest server, which Debian keeps off the PATH.
postgres_bin() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  if [[ -x $newest ]]; then
    dirname "$newest"
  elif newest=$(command -v initdb); then
    dirname "$newest"
  else
    return 1
  fi
}

postgres_fetch() { POSTGRES_BIN=$(postgres_bin); }

# PostgreSQL refuses root: there it runs as the user that Debian's package made.
AS_POSTGRES=()
if [[ $(id -u) == 0 ]]; then
  AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --init-groups)
fi

# That user must be able to reach the data. Where it cannot (a checkout below /root, say), the data
# lives in /var/tmp and stack/.data holds a link to it.
postgres_home() {
  local link=$STACK_DIR/postgres
  if [[ ! -e $link ]]; then
    rm -f "$link"
    if "${AS_POSTGRES[@]}" test -x "$STACK_DIR"; then
      mkdir "$link"
    else
      ln -s "$(mktemp -d /var/tmp/stripe-stack.XXXXXX)" "$link"
    fi
    if [[ $(id -u) == 0 ]]; then chown postgres:postgres "$link/"; fi
    chmod 700 "$link/"
  fi
  readlink -f "$link"
}

postgres_run() {
  local home
  home=$(postgres_home)
  # A directory that the user may enter; the checkout may not be one.
  cd "$home" 2>/dev/null || cd /
  if [[ ! -e $home/initialised ]]; then
    find "$home" -mindepth 1 -delete
    "${AS_POSTGRES[@]}" "$POSTGRES_BIN/initdb" --pgdata "$home/data" --username postgres --auth trust \
      --encoding UTF8 --locale C.UTF-8 --no-sync
    touch "$home/initialised"
  fi
  exec setsid "${AS_POSTGRES[@]}" "$POSTGRES_BIN/postgres" -D "$home/data" -p "$POSTGRES_PORT" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=2GB \
    -c log_line_prefix='%m [%p] %d ' -c log_lock_waits=on -c log_checkpoints=off
}

postgres_sql() { # DATABASE USER
  PGOPTIONS='' PGSSLMODE=disable "$POSTGRES_BIN/psql" --no-psqlrc --quiet --tuples-only --no-align \
    --set ON_ERROR_STOP=1 --host 127.0.0.1 --port "$POSTGRES_PORT" --username "$2" "$1"
}

postgres_prepare() {
  postgres_sql postgres postgres <<'SQL'
SELECT 'CREATE ROLE reconciler LOGIN CREATEDB'
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reconciler') \gexec
SELECT 'CREATE DATABASE reconciler OWNER reconciler'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'reconciler') \gexec
SQL
  postgres_ping
}

postgres_ping() { postgres_sql reconciler reconciler <<<'SELECT 1' >/dev/null; }

# A fast shutdown: it does not wait for clients to leave.
postgres_stop_signal() { echo INT; }

postgres_reset() {
  local home
  home=$(readlink -f "$STACK_DIR/postgres") || return 0
  if [[ $home == /var/tmp/stripe-stack.* ]]; then rm -rf "$home"; fi
}
