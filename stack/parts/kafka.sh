# shellcheck shell=bash
# Apache Kafka, one KRaft node with a heap of 512 MB.

kafka_name() { echo "Kafka"; }

kafka_ports() { echo "$KAFKA_PORT $KAFKA_CONTROLLER_PORT"; }
kafka_address() { echo "127.0.0.1:$KAFKA_PORT"; }

kafka_fetch() {
  fetch_once kafka "$ROOT/stack/kafka/pom.xml" kafka_download
  KAFKA_LIBS=$cached/libs
}

kafka_download() { # DIRECTORY
  say "downloading Apache Kafka with Maven, 54 MB, about 10 s"
  local log=$1.log
  mvn --batch-mode --quiet --file "$ROOT/stack/kafka/pom.xml" dependency:copy-dependencies \
    "-DoutputDirectory=$1/libs" >"$log" 2>&1 ||
    fail "Maven could not fetch Apache Kafka; log: $log; is Maven Central within reach?"
}

kafka_run() {
  local config=$STACK_DIR/kafka.properties
  # The first compiler tier only: a broker that lives for minutes never earns back the second one.
  local java=(java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    -Djava.awt.headless=true "-Dlog4j2.configurationFile=$ROOT/stack/kafka/log4j2.properties"
    -cp "$KAFKA_LIBS/*")
  render "$ROOT/stack/kafka/server.properties" >"$config"
  if [[ ! -e $STACK_DIR/kafka/meta.properties ]]; then
    "${java[@]}" kafka.tools.StorageTool format --config "$config" \
      --cluster-id "$(head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')"
  fi
  exec setsid "${java[@]}" kafka.Kafka "$config"
}

# Makes the topics where they are absent, and waits until they are whole.
kafka_prepare() { kafka_topics --make; }
kafka_ping() { kafka_topics; }

kafka_topics() { # [--make]
  python_fetch
  "$PYTHON" "$ROOT/stack/parts/kafka_topics.py" "$@" "127.0.0.1:$KAFKA_PORT" \
    stripe.raw.v1 stripe.domain.v1
}

kafka_stop_signal() { echo TERM; }
