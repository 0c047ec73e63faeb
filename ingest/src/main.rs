//! The webhook listener: configuration → telemetry → producer → serve → drain.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod body;
mod config;
mod connection;
mod deliveries;
mod producer;
mod publish;
mod raw_topic;
mod server;
mod telemetry;
mod verify;
mod webhook;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use config::Settings;
use metrics::counter;
use producer::KafkaPublisher;
use server::Server;
use service::admin::{self, Readiness};
use service::exit::{self, Outcome};
use service::{signals, stdout};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use webhook::Webhooks;

/// Receives Stripe's webhooks: verifies each and answers 200 once Kafka has it
#[derive(Debug, Parser)]
#[command(version, after_help = "`ingest` alone is `ingest serve`; see `ingest serve --help`.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Listen for webhooks (what `ingest` does without a command)
    Serve(Box<Settings>),
    /// Tell which case a signature is: the header, the body and the active secrets
    Verify(Box<verify::Args>),
}

fn main() -> ExitCode {
    let cli: Cli = exit::parse_from(with_default_command(std::env::args_os().collect()));
    exit::code(match cli.command {
        Command::Serve(settings) => serve(&settings),
        Command::Verify(args) => verify::run(&args),
    })
}

/// `ingest --check-config` means `ingest serve --check-config`.
fn with_default_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let known = ["serve", "verify", "help", "--help", "-h", "--version", "-V"];
    if !args.get(1).and_then(|arg| arg.to_str()).is_some_and(|arg| known.contains(&arg)) {
        args.insert(1.min(args.len()), "serve".into());
    }
    args
}

#[tokio::main]
async fn serve(settings: &Settings) -> anyhow::Result<Outcome> {
    service::logs::init(&settings.logs)?;
    settings.check()?;
    let endpoints = settings.stripe.endpoints()?;
    if settings.check_config {
        KafkaPublisher::check(settings)?;
        let summary = endpoints.summary();
        stdout::print(|out| writeln!(out, "the configuration is sound; endpoints: {summary}"))?;
        return Ok(Outcome::Done);
    }
    let publisher = Arc::new(KafkaPublisher::new(settings)?);
    tracing::info!(?settings, endpoints = endpoints.summary(), "starting");

    if settings.stripe.stripe_signature_tolerance.is_zero() {
        tracing::warn!("STRIPE_SIGNATURE_TOLERANCE=0: old requests can be replayed by anyone");
    }

    let metrics = admin::metrics_recorder()?;
    telemetry::describe();
    let stop = signals::shutdown_token()?;
    let hangups = signals::hangups()?;
    let readiness = Readiness::starting();
    let admin_stop = CancellationToken::new();
    let admin_addr =
        admin::serve(settings.ingest_admin_listen, readiness.clone(), metrics, admin_stop.clone())
            .await?;
    let listener = TcpListener::bind(settings.ingest_listen)
        .await
        .with_context(|| format!("INGEST_LISTEN: cannot listen on {}", settings.ingest_listen))?;
    tracing::info!(addr = %listener.local_addr()?, admin = %admin_addr, "listening");

    let webhooks = Arc::new(Webhooks::new(settings, endpoints, Arc::clone(&publisher)));
    let server = Server::new(Arc::clone(&webhooks), settings.limits.clone());
    let stop_accepting = CancellationToken::new();
    let accepting = tokio::spawn(Arc::clone(&server).accept(listener, stop_accepting.clone()));
    tokio::spawn(Arc::clone(&publisher).keep_working(readiness.clone()));
    tokio::spawn(reload_on_hangup(hangups, settings.stripe.clone(), Arc::clone(&webhooks)));

    tokio::select! {
        checked = raw_topic::wait_until_sound(settings) => {
            checked?;
            publisher.warm_up(settings.kafka_delivery_timeout).await;
            webhooks.open();
            readiness.release("starting");
            tracing::info!("ready");
            stop.cancelled().await;
        }
        () = stop.cancelled() => {}
    }

    readiness.hold("draining");
    webhooks.close();
    tokio::time::sleep(settings.drain.drain_delay).await;
    stop_accepting.cancel();
    accepting.await.context("the listener's task")?;
    let unfinished = server.finish(settings.drain.drain_timeout).await;
    if unfinished > 0 {
        tracing::warn!(unfinished, "connections cut off after DRAIN_TIMEOUT");
    }
    if let Err(error) = publisher.flush(settings.kafka_delivery_timeout).await {
        // Nobody was told 200 for these, so Stripe sends them again.
        tracing::warn!(%error, "records were left unacknowledged");
    }
    admin_stop.cancel();
    tracing::info!("drained");
    Ok(Outcome::Done)
}

/// Reads the secrets again on each SIGHUP. What cannot be read or is wrong changes nothing.
async fn reload_on_hangup(
    mut hangups: tokio::signal::unix::Signal,
    stripe: config::Stripe,
    webhooks: Arc<Webhooks<KafkaPublisher>>,
) {
    while hangups.recv().await.is_some() {
        if stripe.stripe_webhook_secrets_file.is_none() {
            tracing::warn!("SIGHUP: STRIPE_WEBHOOK_SECRETS_FILE is not set; nothing to read again");
            continue;
        }
        let result = match stripe.endpoints() {
            Ok(endpoints) => {
                tracing::info!(endpoints = endpoints.summary(), "secrets read again");
                webhooks.replace_endpoints(endpoints);
                "ok"
            }
            Err(error) => {
                tracing::error!(%error, "secrets not read again; the old ones stay active");
                "failed"
            }
        };
        counter!(telemetry::RELOADS, "result" => result).increment(1);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_tolerance_below_a_second_does_not_switch_the_check_off() {
        let parse = |tolerance: &str| {
            let serve = ["ingest", "serve", "--kafka-brokers=none:1"];
            let tolerance = format!("--stripe-signature-tolerance={tolerance}");
            Cli::try_parse_from(serve.into_iter().chain([tolerance.as_str()]))
        };
        assert!(parse("1s").is_ok() && parse("0").is_ok());
        let refused = parse("500ms").unwrap_err().to_string();
        assert!(refused.contains("--stripe-signature-tolerance"), "{refused}");
        let verify = ["ingest", "verify", "--header=x", "--tolerance=500ms"];
        assert!(Cli::try_parse_from(verify).is_err());
    }

    #[test]
    fn serving_is_what_happens_without_a_command() {
        let args = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (given, meant) in [
            ("ingest", "ingest serve"),
            ("ingest --check-config", "ingest serve --check-config"),
            ("ingest verify --header x", "ingest verify --header x"),
            ("ingest --help", "ingest --help"),
        ] {
            assert_eq!(with_default_command(args(given)), args(meant));
        }
    }
}
