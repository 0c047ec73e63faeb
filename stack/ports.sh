# shellcheck shell=bash
# The ports of one stack: a block of ten from PORT_BASE, all on 127.0.0.1. Change them only here.
#
# The stack `dev` begins at 21000, so that its addresses can be remembered. Every other stack takes
# the first free block after it. STACK_PORT_BASE overrides both. The choice is kept in the data
# directory, so that `env`, `status` and `down` agree with the `up` that made it.

use_ports() { # BASE
  PORT_BASE=$1
  KAFKA_PORT=$((PORT_BASE + 0))
  KAFKA_CONTROLLER_PORT=$((PORT_BASE + 1))
  POSTGRES_PORT=$((PORT_BASE + 2))
  AWS_PORT=$((PORT_BASE + 3))
  PROMETHEUS_PORT=$((PORT_BASE + 4))
  INGEST_PORT=$((PORT_BASE + 5))
  INGEST_ADMIN_PORT=$((PORT_BASE + 6))
  RECONCILER_ADMIN_PORT=$((PORT_BASE + 7))
}

port_answers() { # PORT: does anything accept connections there?
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

block_is_free() { # BASE
  local port
  for port in $(seq "$1" $(($1 + 9))); do
    if port_answers "$port"; then return 1; fi
  done
}

first_free_block() {
  local base
  for base in $(seq 21100 20 21900); do
    if block_is_free "$base"; then
      echo "$base"
      return
    fi
  done
  fail "no ten free ports in a row from 21100 to 21909; set STACK_PORT_BASE to a free range"
}

# Chooses the block. `anew` (given by `up` while no part runs) looks again whether it is free.
choose_ports() { # [anew]
  local base
  base=$(cat "$STACK_DIR/port-base" 2>/dev/null || true)
  if [[ -z $base || ${1:-} == anew ]]; then
    if [[ -n ${STACK_PORT_BASE:-} ]]; then
      base=$STACK_PORT_BASE
    elif [[ $STACK == dev ]]; then
      base=${base:-21000}
    elif [[ -z $base ]] || ! block_is_free "$base"; then
      base=$(first_free_block)
    fi
    if ! [[ $base =~ ^[0-9]{4,5}$ ]] || ((base < 1024 || base > 65526)); then
      usage_error "STACK_PORT_BASE=$base is not a port from 1024 to 65526"
    fi
    echo "$base" >"$STACK_DIR/port-base"
  fi
  use_ports "$base"
}
