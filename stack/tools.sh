# shellcheck shell=bash
# What the machine needs: says what is missing, and installs it on Debian as root or with sudo.

# Prints one Debian package a line (or `rust`) for whatever is missing.
missing_tools() { # build|stack|lint...
  local group
  for group in "$@"; do "missing_for_$group"; done | sort -u
}

has() { command -v "$1" >/dev/null 2>&1; }

missing_for_build() {
  has cargo || echo rust
  # librdkafka and aws-lc are compiled from source; OpenSSL and zlib are the system's.
  { has cc && has c++ && has make; } || echo build-essential
  has cmake || echo cmake
  has pkg-config || echo pkg-config
  header_of openssl openssl/ssl.h || echo libssl-dev
  header_of zlib zlib.h || echo zlib1g-dev
  # librdkafka 2.12 includes this header even when it is built without libcurl.
  header_of libcurl curl/curl.h || echo libcurl4-openssl-dev
}

header_of() { # PKG_CONFIG_NAME HEADER
  pkg-config --exists "$1" 2>/dev/null || [[ -e /usr/include/$2 ]]
}

missing_for_stack() {
  java_is_new_enough || echo default-jre-headless
  has mvn || echo maven
  postgres_bin >/dev/null || echo postgresql
  has python3 || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  has prometheus || echo prometheus
  has curl || printf '%s\n' curl ca-certificates
}

java_is_new_enough() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  ((${version:-0} >= 17))
}

missing_for_lint() {
  missing_for_build
  has shellcheck || echo shellcheck
  has promtool || echo prometheus
}

# A browser for the tests of the console. It is large, and all else can be tested without it: where it
# cannot be had, one line says so. Exports the driver's path, empty without one.
want_browser() {
  if ! { has chromedriver && has chromium; } && may_install; then
    say "Chromium is missing on this machine, will be installed (DEV_INSTALL=no forbids it)"
    (install_packages chromium chromium-driver) || true
    hash -r
  fi
  export CHROMEDRIVER=''
  if has chromium; then CHROMEDRIVER=$(command -v chromedriver || true); fi
  if [[ ! $CHROMEDRIVER ]]; then
    say "no Chromium here: the console's tests in a browser are skipped (chromium, chromium-driver)"
  fi
}

# Nothing to do is the usual case and takes a quarter of a second.
need_tools() { # build|stack|lint...
  local missing packages remedy
  mapfile -t missing < <(missing_tools "$@")
  if ((${#missing[@]} == 0)); then return; fi
  mapfile -t packages < <(printf '%s\n' "${missing[@]}" | grep -vx rust || true)
  remedy="apt-get install -y --no-install-recommends ${packages[*]}"
  if ((${#packages[@]} == 0)); then remedy='install it'; fi
  if [[ " ${missing[*]} " == *" rust "* ]]; then remedy+=" (Rust: see https://rustup.rs)"; fi
  if ! may_install; then
    fail "missing on this machine: ${missing[*]}; as root: $remedy; then run this command again"
  fi
  say "missing on this machine, will be installed: ${missing[*]} (DEV_INSTALL=no forbids it)"
  if ((${#packages[@]} > 0)); then install_packages "${packages[@]}"; fi
  if [[ " ${missing[*]} " == *" rust "* ]]; then install_rust; fi
  mapfile -t missing < <(missing_tools "$@")
  if ((${#missing[@]} > 0)); then
    fail "still missing after the installation: ${missing[*]} (Java must be 17 or newer)"
  fi
}

# On Debian and its children, as root or where sudo lets us.
may_install() {
  [[ ${DEV_INSTALL:-yes} == yes ]] && has apt-get || return 1
  [[ $(id -u) == 0 ]] || { has sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }
}

install_packages() { # PACKAGE...
  local log root=() made_policy='' installed=yes
  if [[ $(id -u) != 0 ]]; then root=(sudo); fi
  log=$(mktemp /tmp/stack-install.XXXXXX.log)
  say "installing with apt-get, about a minute; log: $log"
  # Debian starts a server as soon as its package is there. The stack runs its own on its own ports.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    made_policy=yes
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
    "${root[@]}" chmod +x /usr/sbin/policy-rc.d
  fi
  if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
    "${root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' |
      "${root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  "${root[@]}" apt-get update >"$log" 2>&1 || true
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1 </dev/null || installed=
  if [[ $made_policy ]]; then "${root[@]}" rm -f /usr/sbin/policy-rc.d; fi
  if [[ -d /run/systemd/system && " $* " == *" prometheus "* ]]; then
    "${root[@]}" systemctl disable --now prometheus >>"$log" 2>&1 || true
  fi
  [[ $installed ]] || fail "apt-get could not install $*: $(tail -n 1 "$log"); log: $log"
  hash -r
}

# Debian's own Rust is older than the toolchain that rust-toolchain.toml names; rustup gets that one.
install_rust() {
  say "installing Rust with rustup, about a minute"
  if ! has curl; then install_packages curl ca-certificates; fi
  curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
    sh -s -- -y --profile minimal --default-toolchain none --no-modify-path >/dev/null ||
    fail "rustup could not be fetched; install Rust yourself (https://rustup.rs), then try again"
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
}
