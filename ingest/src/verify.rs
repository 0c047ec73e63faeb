//! `ingest verify`: which case a signature is, for whoever wonders why a webhook is refused.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use domain::endpoint::{self, DEFAULT};
use domain::peek::peek;
use domain::signature::{self, Key, Refusal};
use service::exit::{ConfigError, Outcome};
use service::secret::SecretString;
use service::{stdout, units};

use crate::config::Stripe;

/// Prints the verdict on the first line: `ok`, or the reason code that the listener would answer;
/// then what it means. Ends with 0 when the signature verifies, with 3 when it does not. Without a
/// body only the header's form is checked (`parse_ok`).
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The whole Stripe-Signature header
    #[arg(long, allow_hyphen_values = true)]
    header: String,
    /// The request's body, byte for byte; `-` reads standard input
    #[arg(long)]
    body: Option<PathBuf>,
    /// Whose secrets to try
    #[arg(long, default_value = DEFAULT)]
    endpoint: String,
    /// Signing secrets as the listener has them
    #[arg(long, env, hide_env_values = true)]
    stripe_webhook_secrets: Option<SecretString>,
    /// File with the listener's secrets
    #[arg(long, env)]
    stripe_webhook_secrets_file: Option<PathBuf>,
    /// File with one secret, taken as it is but for one newline at its end; of any kind
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Our time in Unix seconds instead of the clock's
    #[arg(long)]
    now: Option<u64>,
    /// How far the signature's time may lie from ours, in whole seconds; 0 does not check it
    #[arg(long, visible_alias = "stripe-signature-tolerance", default_value = "300s",
          env = "STRIPE_SIGNATURE_TOLERANCE", value_parser = units::whole_seconds)]
    tolerance: Duration,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Verdict {
    code: &'static str,
    meaning: String,
    /// Index of the secret that matched.
    secret: Option<usize>,
    hints: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let verdict = match &args.body {
        None => parse_only(&args.header),
        Some(path) => {
            let body = read(path)?;
            let (keys, hint) = args.keys()?;
            let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let mut verdict = judge(args, &body, &keys, args.now.unwrap_or(clock));
            verdict.hints.extend(hint);
            verdict
        }
    };
    stdout::print(|out| print(&verdict, args.json, out)).context("standard output")?;
    let good = matches!(verdict.code, "ok" | "parse_ok");
    Ok(if good { Outcome::Done } else { Outcome::Found })
}

impl Args {
    fn keys(&self) -> anyhow::Result<(Vec<Key>, Option<String>)> {
        if let Some(path) = &self.secret_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--secret-file {}", path.display()))?;
            let secret = text.strip_suffix('\n').unwrap_or(&text);
            let hint = endpoint::check_secret(secret).err();
            return Ok((
                vec![Key::new(secret)],
                hint.map(|problem| format!("the secret {problem}")),
            ));
        }
        let stripe = Stripe {
            stripe_webhook_secrets: self.stripe_webhook_secrets.clone(),
            stripe_webhook_secrets_file: self.stripe_webhook_secrets_file.clone(),
            stripe_accounts: String::new(),
            stripe_signature_tolerance: self.tolerance,
        };
        let endpoint = stripe.endpoints()?.get(&self.endpoint).ok_or_else(|| {
            let problem = format!("endpoint {} has no secret", self.endpoint);
            ConfigError::new("STRIPE_WEBHOOK_SECRETS", problem)
        })?;
        Ok((endpoint.keys.clone(), None))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body).context("standard input")?;
        return Ok(body);
    }
    std::fs::read(path).with_context(|| format!("--body {}", path.display()))
}

fn parse_only(header: &str) -> Verdict {
    match signature::parse(header) {
        Ok(found) => Verdict {
            code: "parse_ok",
            meaning: format!(
                "t={}, {} v1 signature(s), {} element(s) of other schemes; no body to verify",
                found.timestamp,
                found.v1().count(),
                found.ignored()
            ),
            ..Verdict::default()
        },
        Err(refusal) => refused(refusal),
    }
}

fn refused(refusal: Refusal) -> Verdict {
    Verdict { code: refusal.code(), meaning: refusal.to_string(), ..Verdict::default() }
}

fn judge(args: &Args, body: &[u8], keys: &[Key], now: u64) -> Verdict {
    let tolerance = args.tolerance.as_secs();
    let check = |header: &str, body: &[u8], tolerance| {
        signature::verify(Some(header), body, keys, now, tolerance)
    };
    match check(&args.header, body, tolerance) {
        Ok(index) => Verdict {
            code: "ok",
            meaning: "the signature is genuine; the listener accepts it".to_owned(),
            secret: Some(index),
            hints: payload_hints(body),
        },
        Err(refusal) => {
            let mut verdict = refused(refusal);
            match refusal {
                Refusal::TimestampOutsideTolerance => {
                    if let Ok(found) = signature::parse(&args.header) {
                        let (late, way) = match now.checked_sub(found.timestamp) {
                            Some(late) => (late, "old"),
                            None => (found.timestamp - now, "in the future"),
                        };
                        verdict.hints.push(format!(
                            "it is {late} s {way} and {tolerance} s are tolerated: a replay, a \
                             delay or a wrong clock"
                        ));
                    }
                }
                Refusal::NoMatchingSignature => {
                    let trimmed = body.trim_ascii();
                    if trimmed.len() < body.len() && check(&args.header, trimmed, 0).is_ok() {
                        verdict.hints.push(
                            "it matches without the white space around the body: the file is not \
                             byte for byte what was sent"
                                .to_owned(),
                        );
                    }
                    if check(&args.header.to_lowercase(), body, 0).is_ok() {
                        verdict.hints.push("the hex must be lower case".to_owned());
                    }
                    verdict.hints.push(
                        "either the secret is another endpoint's (each endpoint, and `stripe \
                         listen`, has its own) or the body was changed on its way"
                            .to_owned(),
                    );
                }
                _ => {}
            }
            verdict
        }
    }
}

/// What a genuine body is that readers may not expect; it is accepted all the same.
fn payload_hints(body: &[u8]) -> Vec<String> {
    let seen = peek(body);
    if !seen.json {
        return vec!["invalid_json: the body is not JSON; it is accepted and kept raw".to_owned()];
    }
    match seen.object.as_deref() {
        Some("event") => vec![],
        Some("v2.core.event") => vec!["thin: an event of API v2; it is accepted".to_owned()],
        _ => vec!["the body does not say `\"object\": \"event\"`; it is accepted".to_owned()],
    }
}

fn print(verdict: &Verdict, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let document = serde_json::json!({
            "verdict": verdict.code,
            "meaning": verdict.meaning,
            "secret": verdict.secret,
            "hints": verdict.hints,
        });
        return writeln!(out, "{document}");
    }
    writeln!(out, "{}\n{}", verdict.code, verdict.meaning)?;
    if let Some(index) = verdict.secret {
        writeln!(out, "matched: secret {index}")?;
    }
    for hint in &verdict.hints {
        writeln!(out, "hint: {hint}")?;
    }
    Ok(())
}
