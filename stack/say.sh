# shellcheck shell=bash
# What people read goes to stderr; stdout is for results (`env`, `status`).

say() { echo "stack: $*" >&2; }

fail() {
  echo "error: $*" >&2
  exit 1
}

usage_error() {
  echo "error: $*; see ./dev help" >&2
  exit 2
}
