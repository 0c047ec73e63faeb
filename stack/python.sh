# shellcheck shell=bash
# One Python environment: moto (S3 and Firehose) and the small clients that prepare the parts. A Java
# tool would take 1.5 s for each question to Kafka.

python_fetch() {
  fetch_once python "$ROOT/stack/requirements.txt" python_install
  PYTHON=$(python_path)
}

# Where it is, fetched or not.
python_path() { echo "$(cache_of python "$ROOT/stack/requirements.txt")/bin/python"; }

python_install() { # DIRECTORY
  say "installing moto and two clients from PyPI into a virtual environment, 120 MB, about 15 s"
  local log=$1.log
  if ! { python3 -m venv "$1" && "$1/bin/pip" install --no-compile --no-deps \
    --disable-pip-version-check -r "$ROOT/stack/requirements.txt"; } >"$log" 2>&1; then
    fail "pip could not install stack/requirements.txt; log: $log; is PyPI within reach?"
  fi
}
