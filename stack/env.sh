# shellcheck shell=bash
# The variables that the binaries, the demo and the tests read. `./dev stack env` prints them.

# Made once for each stack; a verifier wants Stripe's prefix, the rest is any text.
webhook_secret() {
  local file=$STACK_DIR/webhook.secret
  if [[ ! -s $file ]]; then
    (umask 077 && printf 'whsec_%s\n' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >"$file")
  fi
  cat "$file"
}

stack_env() {
  cat <<VARIABLES
export STACK=$STACK
export STACK_DIR=$STACK_DIR
export KAFKA_BROKERS=127.0.0.1:$KAFKA_PORT
export KAFKA_TOPIC=stripe.raw.v1
export DOMAIN_SINKS=firehose,kafka
export DOMAIN_TOPIC=stripe.domain.v1
export DATABASE_URL=postgres://reconciler@127.0.0.1:$POSTGRES_PORT/reconciler
export S3_BUCKET=stripe-archive
export FIREHOSE_STREAM=stripe-domain
export FIREHOSE_BUCKET=stripe-domain-events
export AWS_ENDPOINT_URL=http://127.0.0.1:$AWS_PORT
export AWS_ACCESS_KEY_ID=test
export AWS_SECRET_ACCESS_KEY=test
export AWS_REGION=us-east-1
export AWS_DEFAULT_REGION=us-east-1
export AWS_EC2_METADATA_DISABLED=true
export STRIPE_WEBHOOK_SECRETS=$(webhook_secret)
export LIVEMODE=test
export INGEST_LISTEN=127.0.0.1:$INGEST_PORT
export INGEST_ADMIN_LISTEN=127.0.0.1:$INGEST_ADMIN_PORT
export RECONCILER_ADMIN_LISTEN=127.0.0.1:$RECONCILER_ADMIN_PORT
export STACK_PYTHON=$(python_path)
export PROMETHEUS_URL=http://127.0.0.1:$PROMETHEUS_PORT
export NO_PROXY=127.0.0.1,localhost
VARIABLES
  # What a person's shell may hold for the real AWS must not reach past the stand-in.
  echo 'unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_S3 AWS_ENDPOINT_URL_FIREHOSE'
}

load_env() {
  eval "$(stack_env)"
}
