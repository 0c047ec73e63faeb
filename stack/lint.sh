# shellcheck shell=bash
# What can be said about the code without running it. SQL is proved by the tests, which apply it.

CARGO_DENY=0.20.2

work_lint() {
  local quick=''
  case ${1:-} in
    '') ;;
    --quick) quick=yes ;;
    *) usage_error "lint knows only --quick" ;;
  esac
  need_tools lint
  FAILED=()
  check "fmt" cargo fmt --all --check
  check "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
  check "shellcheck" shellcheck --external-sources --check-sourced dev .ci/run
  check "promtool" check_prometheus
  if [[ ! $quick ]]; then check "cargo deny" check_dependencies; fi
  if ((${#FAILED[@]} > 0)); then fail "lint: these failed: ${FAILED[*]}"; fi
  say "lint: clean"
}

check() { # NAME COMMAND...
  say "lint: $1"
  if ! "${@:2}"; then FAILED+=("$1"); fi
}

check_prometheus() {
  local rendered rules status=0
  rendered=$(mktemp)
  (use_ports 21000 && render stack/prometheus.yml) >"$rendered"
  promtool check config "$rendered" >/dev/null || status=1
  rm -f "$rendered"
  for rules in dashboards/*.rules.yml; do
    if [[ -e $rules ]]; then promtool check rules "$rules" >/dev/null || status=1; fi
  done
  for rules in dashboards/*.test.yml; do
    if [[ -e $rules ]]; then promtool test rules "$rules" >/dev/null || status=1; fi
  done
  return "$status"
}

# Licences, sources and duplicates need no network; the database of advisories does.
check_dependencies() {
  local log=$CACHE/cargo-deny.log
  PATH=$PATH:$CACHE/cargo-deny/bin
  if ! has cargo-deny; then
    say "compiling cargo-deny $CARGO_DENY, once, about 6 minutes on 2 cores"
    mkdir -p "$CACHE"
    if ! cargo install --quiet --locked --version "$CARGO_DENY" --root "$CACHE/cargo-deny" \
      cargo-deny >"$log" 2>&1; then
      say "skipped: cargo-deny cannot be installed here; log: $log"
      return
    fi
  fi
  cargo deny --log-level error check bans licenses sources || return 1
  if cargo deny --log-level error fetch db >"$log" 2>&1; then
    cargo deny --log-level error check --disable-fetch advisories
  else
    say "skipped: the database of advisories is out of reach; log: $log"
  fi
}
