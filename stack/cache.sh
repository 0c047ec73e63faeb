# shellcheck shell=bash
# Downloads, shared by all stacks of this checkout and kept by `reset`. STACK_CACHE moves them, for
# instance to a directory that several checkouts share.

CACHE=${STACK_CACHE:-$ROOT/stack/.data/cache}

cache_of() { # NAME INPUT_FILE
  echo "$CACHE/$1-$(sha256sum "$2" | cut -c1-12)"
}

# Calls FUNCTION DIRECTORY unless an earlier call with the same inputs finished. The directory's name
# carries a hash of the input file, so a changed version is fetched anew. Leaves its path in `cached`.
fetch_once() { # NAME INPUT_FILE FUNCTION
  cached=$(cache_of "$1" "$2")
  if [[ -e $cached/.complete ]]; then return; fi
  mkdir -p "$CACHE"
  exec 8>"$CACHE/$1.lock"
  flock 8
  if [[ ! -e $cached/.complete ]]; then
    rm -rf "$cached"
    mkdir "$cached"
    "$3" "$cached" 8>&-
    touch "$cached/.complete"
  fi
  exec 8>&-
}

# Writes a template with each @NAME@ replaced by the value of the variable NAME.
render() { # TEMPLATE
  local text name
  text=$(<"$1")
  while [[ $text =~ @([A-Z_]+)@ ]]; do
    name=${BASH_REMATCH[1]}
    text=${text//@$name@/${!name}}
  done
  printf '%s\n' "$text"
}
