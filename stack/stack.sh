# shellcheck shell=bash
# One stack: its parts, and what `./dev stack` does with them.
#
# A part is a file in stack/parts with these functions, `aws` for example:
#   aws_fetch        gets what it needs from elsewhere, once
#   aws_run          ends in `exec` of the server, in the foreground
#   aws_prepare      makes what must be there; succeeds when the part answered real requests
#   aws_ping         one real request that changes nothing
#   aws_name, aws_ports, aws_address, aws_stop_signal; if needed aws_reset for data kept elsewhere

PARTS=(kafka postgres aws prometheus)
READY_SECONDS=60

# Called first by every command: STACK names the stack, and so its directory and ports.
open_stack() {
  STACK=${STACK:-dev}
  [[ $STACK =~ ^[a-z][a-z0-9-]*$ && $STACK != cache ]] ||
    usage_error "STACK=$STACK is not a name (a-z, 0-9, -)"
  STACK_DIR=$ROOT/stack/.data/$STACK
  mkdir -p "$STACK_DIR"
  choose_ports
}

# One `up`, `down` or `reset` at a time for each stack. Servers must not inherit the lock (9>&-).
lock_stack() {
  exec 9>"$ROOT/stack/.data/$STACK.lock"
  if ! flock -n 9; then
    say "waiting for another command on the stack $STACK"
    flock 9
  fi
}

running_parts() {
  local part pid
  for part in "${PARTS[@]}"; do
    if process_alive "$part"; then echo "$part"; fi
  done
}

stack_up() {
  local part pids=() began=$EPOCHREALTIME running
  STARTED=()
  lock_stack
  running=" $(running_parts | tr '\n' ' ')"
  if [[ $running == ' ' ]]; then choose_ports anew; fi
  need_tools stack
  for part in "${PARTS[@]}"; do
    if [[ $running != *" $part "* ]]; then STARTED+=("$part"); fi
  done
  for part in "${STARTED[@]}"; do need_ports "$part"; done
  trap 'stop_starting "${pids[@]}"; exit 130' INT TERM
  for part in "${PARTS[@]}"; do
    part_up "$part" &
    pids+=($!)
  done
  for part in "${PARTS[@]}"; do
    if ! wait -n; then
      stop_starting "${pids[@]}"
      exit 1
    fi
  done
  trap - INT TERM
  exec 9>&-
  if ((${#STARTED[@]} == 0)); then
    say "$STACK was already up; every part answers"
  else
    say "$STACK is up after $(seconds_since "$began") s; its variables:" \
      "eval \"\$(STACK=$STACK ./dev stack env)\""
  fi
}

seconds_since() { # EPOCHREALTIME
  awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'
}

# After a failure or Ctrl-C: ends this command's downloads and the parts it started.
stop_starting() { # PID...
  local pid
  trap '' INT TERM
  if ((${#STARTED[@]} > 0)); then say "stopping what this command started: ${STARTED[*]}"; fi
  for pid in "$@"; do signal_tree "$pid"; done
  wait || true
  stop_parts "${STARTED[@]}"
}

need_ports() { # PART
  local port
  for port in $("${1}_ports"); do
    if port_answers "$port"; then
      fail "$("${1}_name") needs port $port, which $(port_owner "$port") holds; end that, or" \
        "choose other ports: STACK_PORT_BASE=$((PORT_BASE + 1000)) ./dev stack up;" \
        "log: $STACK_DIR/$1.log"
    fi
  done
}

# Runs in a subshell of its own, one for each part at the same time.
part_up() { # PART
  local part=$1 pid port began=$EPOCHREALTIME deadline log attempt
  log=$STACK_DIR/$part.log
  attempt=$STACK_DIR/$part.prepare.log
  "${part}_fetch"
  if process_alive "$part"; then
    if "${part}_prepare" >"$attempt" 2>&1; then return; fi
    fail "$("${part}_name") runs but does not answer: $(last_line "$attempt"); log: $log;" \
      "try ./dev stack down, then up"
  fi
  process_start "$part"
  deadline=$((SECONDS + READY_SECONDS))
  port=$("${part}_ports" | cut -d' ' -f1)
  until port_answers "$port" && "${part}_prepare" >"$attempt" 2>&1; do
    if ! process_alive "$part"; then
      fail "$("${part}_name") ended while starting: $(last_complaint "$log"); log: $log;" \
        "if its data is damaged, ./dev stack reset begins anew"
    fi
    if ((SECONDS >= deadline)); then
      fail "$("${part}_name") is not ready after $READY_SECONDS s: $(last_line "$attempt");" \
        "log: $log; is the machine busy? try ./dev stack up again"
    fi
    sleep 0.1
  done
  say "$("${part}_name") is ready at $("${part}_address") after $(seconds_since "$began") s"
}

last_line() { tail -n 1 "$1" | cut -c1-160; }

last_complaint() { # LOG
  local line
  line=$(grep -E 'FATAL|ERROR|[Ee]rror|Exception|level=error' "$1" | tail -n 1 | cut -c1-200)
  line=${line:-$(last_line "$1")}
  echo "${line:-it said nothing}"
}

port_owner() { # PORT: "java (process 12)", as far as the system tells
  local owner=''
  if has ss; then
    owner=$(ss -Hltnp "sport = :$1" 2>/dev/null |
      sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p' | head -n 1)
  fi
  echo "${owner:-another process}"
}

stop_parts() { # PART...
  local part
  for part in "$@"; do process_signal "$part" "$("${part}_stop_signal")"; done
  for part in "$@"; do process_wait_end "$part"; done
}

stack_down() {
  local parts
  lock_stack
  mapfile -t parts < <(running_parts)
  if ((${#parts[@]} == 0)); then
    say "$STACK was not running"
  else
    stop_parts "${parts[@]}"
    say "$STACK is down: stopped ${parts[*]}"
  fi
  exec 9>&-
}

stack_reset() {
  stack_down
  lock_stack
  forget_data
  exec 9>&-
  say "the data of $STACK is gone; downloads stay in $CACHE"
}

forget_data() {
  local part
  for part in "${PARTS[@]}"; do
    if declare -F "${part}_reset" >/dev/null; then "${part}_reset"; fi
  done
  rm -rf "$STACK_DIR"
}

# One row for each part; exit 0 when all answer, 1 when one does not.
stack_status() {
  local part pid state all=0 asked
  asked=$(mktemp -d)
  for part in "${PARTS[@]}"; do
    if process_alive "$part"; then
      ("${part}_fetch" && "${part}_ping" && touch "$asked/$part") >/dev/null 2>&1 &
    fi
  done
  wait
  echo "stack $STACK, ports from $PORT_BASE"
  printf '%-16s %-14s %-8s %-24s %s\n' PART STATE PROCESS ADDRESS LOG
  for part in "${PARTS[@]}"; do
    state=stopped
    if process_alive "$part"; then
      state='not answering'
      if [[ -e $asked/$part ]]; then state=ready; fi
    else
      pid=
    fi
    if [[ $state != ready ]]; then all=1; fi
    printf '%-16s %-14s %-8s %-24s %s\n' "$("${part}_name")" "$state" "${pid:--}" \
      "$("${part}_address")" "${STACK_DIR#"$ROOT"/}/$part.log"
  done
  rm -rf "$asked"
  return "$all"
}

stack_logs() { # [PART]
  local part logs=()
  for part in "${@:-${PARTS[@]}}"; do
    [[ -e $STACK_DIR/$part.log ]] || usage_error "no log of '$part'; parts: ${PARTS[*]}"
    logs+=("$STACK_DIR/$part.log")
  done
  exec tail -n 100 -F "${logs[@]}"
}
