# shellcheck shell=bash
# S3 and Firehose: moto speaks their wire protocol on one port and keeps everything in memory, so
# `down` forgets it.

aws_name() { echo "S3 and Firehose"; }

aws_ports() { echo "$AWS_PORT"; }
aws_address() { echo "http://127.0.0.1:$AWS_PORT"; }
aws_fetch() { python_fetch; }

aws_run() {
  exec setsid "$PYTHON" -c 'from moto.server import main; main()' -H 127.0.0.1 -p "$AWS_PORT"
}

# Makes the buckets and the stream where they are absent, and describes the stream.
aws_prepare() {
  python_fetch
  load_env
  "$PYTHON" "$ROOT/stack/parts/aws_resources.py"
}

# The list of buckets.
aws_ping() {
  curl --silent --show-error --fail --noproxy '*' --max-time 5 --output /dev/null \
    "http://127.0.0.1:$AWS_PORT/"
}

aws_stop_signal() { echo TERM; }
