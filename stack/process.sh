# shellcheck shell=bash
# Background processes: started in a session of their own, known by process id *and* start time, so
# that an id which the kernel gave to somebody else meanwhile is never signalled.

# Prints what tells this process from any other that ever had its id; fails when it has ended.
process_identity() { # PID
  local stat boot
  { stat=$(<"/proc/$1/stat") && boot=$(</proc/sys/kernel/random/boot_id); } 2>/dev/null || return 1
  # After the command's name in parentheses: state is the 1st field, start time the 20th.
  read -ra stat <<<"${stat##*) }"
  [[ ${stat[0]} != [ZX] ]] && echo "${stat[19]} $boot"
}

process_alive() { # PART: leaves the process id in `pid`
  local identity
  pid=
  { read -r pid identity <"$STACK_DIR/$1.pid"; } 2>/dev/null || return 1
  [[ $(process_identity "$pid") == "$identity" ]]
}

# Runs PART_run, which must end in `exec`, in the background.
process_start() { # PART
  local part=$1 pid
  ("${part}_run") </dev/null >"$STACK_DIR/$part.log" 2>&1 9>&- &
  pid=$!
  disown
  echo "$pid $(process_identity "$pid" || true)" >"$STACK_DIR/$part.pid"
}

process_signal() { # PART SIGNAL
  local pid
  if process_alive "$1"; then kill -s "$2" "$pid" 2>/dev/null || true; fi
}

# Waits until a condition holds, looking ten times a second; fails when the time is over.
wait_until() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)); then return 1; fi
    sleep 0.1
  done
}

process_ended() { # PART
  local pid
  ! process_alive "$1"
}

process_wait_end() { # PART: kills what has not ended after 20 s
  if ! wait_until 20 process_ended "$1"; then
    say "$1 does not end; killing it"
    process_signal "$1" KILL
    wait_until 5 process_ended "$1" || fail "$1 cannot be killed; look at $STACK_DIR/$1.log"
  fi
  rm -f "$STACK_DIR/$1.pid"
}

# Ends a process and what it started, its children first.
signal_tree() { # PID
  local child
  while read -r child; do signal_tree "$child"; done < <(
    grep -ls "^PPid:[[:space:]]$1\$" /proc/[0-9]*/status | cut -d/ -f3
  )
  kill "$1" 2>/dev/null || true
}
