# shellcheck shell=bash
# Prometheus, which scrapes the admin listeners of ingest and reconciler.

prometheus_name() { echo "Prometheus"; }

prometheus_ports() { echo "$PROMETHEUS_PORT"; }
prometheus_address() { echo "http://127.0.0.1:$PROMETHEUS_PORT"; }
prometheus_fetch() { :; }

prometheus_run() {
  local config=$STACK_DIR/prometheus.yml
  render "$ROOT/stack/prometheus.yml" >"$config"
  exec setsid prometheus --config.file="$config" --storage.tsdb.path="$STACK_DIR/prometheus" \
    --storage.tsdb.retention.time=7d --web.listen-address="127.0.0.1:$PROMETHEUS_PORT"
}

prometheus_ping() {
  curl --silent --show-error --fail --noproxy '*' --max-time 5 --output /dev/null \
    "http://127.0.0.1:$PROMETHEUS_PORT/-/ready"
}

prometheus_prepare() { prometheus_ping; }
prometheus_stop_signal() { echo TERM; }
