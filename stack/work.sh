# shellcheck shell=bash
# What builds and runs the project itself: demo, test, run, bench, lint.

PROFILE=${DEV_PROFILE:-debug}
BIN=${CARGO_TARGET_DIR:-$ROOT/target}/$PROFILE

case $PROFILE in
  debug) CARGO_PROFILE=() ;;
  release) CARGO_PROFILE=(--release) ;;
  *) usage_error "DEV_PROFILE=$PROFILE is neither debug nor release" ;;
esac

build() { # CARGO_ARGUMENT...
  if [[ ! -d $BIN/deps ]]; then
    say "compiling for the first time: about 3 minutes on 2 cores, 6 for a release"
  fi
  cargo build "${CARGO_PROFILE[@]}" "$@"
}

# Builds while the stack comes up, and exports the stack's environment. What the stack says is held
# back, so that it does not tear the compiler's progress bar. A stack that was not running before is
# stopped on every way out, Ctrl-C included.
build_and_up() { # CARGO_ARGUMENT...
  local said up status=0
  need_tools build stack
  open_stack
  if [[ -z $(running_parts) ]]; then trap stop_started EXIT; fi
  said=$STACK_DIR/up.log
  (stack_up) >"$said" 2>&1 &
  up=$!
  build "$@" || status=$?
  wait "$up" || status=$?
  cat "$said" >&2
  if ((status != 0)); then exit 1; fi
  # Read again: `up` may have chosen other ports.
  choose_ports
  load_env
}

stop_started() {
  local jobs
  trap '' INT TERM
  mapfile -t jobs < <(jobs -p)
  if ((${#jobs[@]} > 0)); then kill "${jobs[@]}" 2>/dev/null || true; fi
  wait || true
  (stack_down)
}

work_demo() {
  local argument
  build_and_up --package ingest --package reconciler --package harness --bins
  for argument in "$@"; do
    # The stack stays for what --keep leaves running.
    if [[ $argument == --keep ]]; then trap - EXIT; fi
  done
  "$BIN/demo" "$@"
}

work_test() { # [--full] [CARGO_ARGUMENT...] [-- TEST_ARGUMENT...]
  local scope=(--workspace) cargo=() tests=() full=()
  if [[ ${1:-} == --full ]]; then
    full=(--include-ignored)
    shift
  fi
  while (($# > 0)) && [[ $1 != -- ]]; do
    if [[ $1 == -p* || $1 == --package* || $1 == --workspace ]]; then scope=(); fi
    cargo+=("$1")
    shift
  done
  tests=("${@:2}")
  STACK=${STACK:-test}
  forget_stopped_stack
  # System tests start the binaries themselves, so these must be there before.
  build_and_up --workspace --bins
  cargo test "${CARGO_PROFILE[@]}" "${scope[@]}" "${cargo[@]}" -- "${full[@]}" "${tests[@]}"
  if ((${#full[@]} > 0 && ${#cargo[@]} + ${#tests[@]} == 0)); then
    bench all --short
    bench_core --short
  fi
}

# A test run begins with empty parts, so that it never depends on what an earlier one left.
forget_stopped_stack() {
  open_stack
  if [[ $STACK == test && -z $(running_parts) ]]; then forget_data; fi
}

work_run() {
  local binary=${1:-}
  shift || true
  [[ $binary == ingest || $binary == reconciler ]] || usage_error "run ingest or reconciler?"
  need_tools build
  build --quiet --package "$binary" --bin "$binary"
  open_stack
  if [[ -z $(running_parts) ]]; then say "$STACK is not running; ./dev stack up starts it"; fi
  load_env
  exec "$BIN/$binary" "$@"
}

work_bench() { # [NAME [ARGUMENT...]]
  local arguments=("${@:-all}")
  [[ ${arguments[0]} != -* ]] || arguments=(all "${arguments[@]}")
  STACK=${STACK:-bench}
  # What only checks that it works need not be fast.
  if [[ " ${arguments[*]} " != *' --short '* ]]; then
    CARGO_PROFILE=(--release)
    BIN=${CARGO_TARGET_DIR:-$ROOT/target}/release
  fi
  if [[ ${arguments[0]} == core ]]; then
    bench_core "${arguments[@]:1}"
    return
  fi
  build_and_up --workspace --bins
  bench "${arguments[@]}"
}

# Thousands of connections need as many descriptors as the system lets us have.
bench() { # ARGUMENT...
  ulimit -n "$(ulimit -Hn)"
  cargo test --quiet "${CARGO_PROFILE[@]}" --package harness --bench bench -- "$@"
}

# The pure core, without servers.
bench_core() { # [--short] [FILTER...]
  if [[ ${1:-} == --short ]]; then
    cargo test --quiet --package domain --bench core "${@:2}"
  else
    cargo bench --package domain --bench core -- "$@"
  fi
}
