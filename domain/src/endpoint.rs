//! The endpoints that Stripe delivers to: their names, secrets and accounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::signature::Key;

/// The endpoint of `/webhooks/stripe` and of secrets without a name.
pub const DEFAULT: &str = "default";

const SECRETS: &str = "STRIPE_WEBHOOK_SECRETS";
const ACCOUNTS: &str = "STRIPE_ACCOUNTS";
/// Longest name of an endpoint, in bytes.
const NAME_MAX: usize = 64;
/// How secrets and ids of Stripe's begin, and no name may.
const NOT_NAMES: [&str; 5] = ["whsec_", "sk_", "rk_", "pk_", "we_"];

/// A setting that is wrong. Never quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Invalid {
    /// The environment variable's name.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Invalid {
    fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The last part of its path, and a label of its metrics.
    pub name: Arc<str>,
    /// Its active secrets, in the order of the setting.
    pub keys: Vec<Key>,
    /// The Stripe account whose events it receives, when an event does not say.
    pub account: Option<String>,
}

/// All endpoints by name.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(BTreeMap<String, Arc<Endpoint>>);

impl Endpoints {
    /// Reads `STRIPE_WEBHOOK_SECRETS` and `STRIPE_ACCOUNTS`: `VALUE` for the default endpoint,
    /// `NAME:VALUE` for another, comma separated or one a line. No message quotes a value: whatever
    /// it is meant to be, it may be a secret.
    pub fn parse(secrets: &str, accounts: &str) -> Result<Self, Invalid> {
        let mut endpoints: BTreeMap<String, Endpoint> = BTreeMap::new();
        let mut seen = Vec::new();
        for (position, (name, secret)) in entries(SECRETS, secrets)? {
            check_secret(secret).map_err(|problem| {
                Invalid::new(SECRETS, format!("entry {position} (endpoint {name}) {problem}"))
            })?;
            if seen.contains(&(name, secret)) {
                return Err(Invalid::new(
                    SECRETS,
                    format!("entry {position} (endpoint {name}) repeats an earlier one"),
                ));
            }
            seen.push((name, secret));
            endpoints
                .entry(name.to_owned())
                .or_insert_with(|| Endpoint { name: name.into(), keys: vec![], account: None })
                .keys
                .push(Key::new(secret));
        }
        if endpoints.is_empty() {
            return Err(Invalid::new(SECRETS, "holds no secret"));
        }
        for (position, (name, account)) in entries(ACCOUNTS, accounts)? {
            if !account.starts_with("acct_") {
                return Err(Invalid::new(ACCOUNTS, format!("entry {position} is not acct_…")));
            }
            let endpoint = endpoints.get_mut(name).ok_or_else(|| {
                Invalid::new(ACCOUNTS, format!("endpoint {name} has no secret in {SECRETS}"))
            })?;
            if endpoint.account.replace(account.to_owned()).is_some() {
                return Err(Invalid::new(ACCOUNTS, format!("endpoint {name} has two accounts")));
            }
        }
        Ok(Self(endpoints.into_iter().map(|(name, e)| (name, Arc::new(e))).collect()))
    }

    /// The endpoint of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.0.get(name).cloned()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.values().map(AsRef::as_ref)
    }

    /// What may be shown of them: `default (2 secrets), eu (1 secret, acct_1)`.
    pub fn summary(&self) -> String {
        let parts: Vec<String> = self
            .iter()
            .map(|endpoint| {
                let count = endpoint.keys.len();
                let plural = if count == 1 { "" } else { "s" };
                let account = endpoint.account.as_deref().map(|a| format!(", {a}"));
                format!("{} ({count} secret{plural}{})", endpoint.name, account.unwrap_or_default())
            })
            .collect();
        parts.join(", ")
    }
}

/// Entry number (from 1), endpoint name and value.
type Entry<'a> = (usize, (&'a str, &'a str));

fn entries<'a>(setting: &'static str, text: &'a str) -> Result<Vec<Entry<'a>>, Invalid> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty() && !entry.starts_with('#'))
        .enumerate()
        .map(|(index, entry)| {
            let (name, value) = entry.split_once(':').unwrap_or((DEFAULT, entry));
            let (name, value) = (name.trim(), value.trim());
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
            if !(1..=NAME_MAX).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(Invalid::new(
                    setting,
                    format!(
                        "entry {}: an endpoint's name is 1 to {NAME_MAX} of a-z, 0-9, - and _",
                        index + 1
                    ),
                ));
            }
            // Secrets with a colon between them instead of a comma: the name would be shown.
            if let Some(prefix) = NOT_NAMES.iter().find(|prefix| name.starts_with(**prefix)) {
                return Err(Invalid::new(
                    setting,
                    format!(
                        "entry {}: an endpoint's name does not begin with {prefix}; is there a \
                         colon for a comma?",
                        index + 1
                    ),
                ));
            }
            Ok((index + 1, (name, value)))
        })
        .collect()
}

/// Whether this is a webhook signing secret; otherwise what it is, without quoting it.
pub fn check_secret(secret: &str) -> Result<(), String> {
    let kinds = [
        ("sk_", "a secret API key"),
        ("rk_", "a restricted API key"),
        ("pk_", "a publishable API key"),
        ("we_", "the id of a webhook endpoint"),
    ];
    if let Some((prefix, kind)) = kinds.iter().find(|(prefix, _)| secret.starts_with(prefix)) {
        return Err(format!("is {kind} ({prefix}…), not a webhook signing secret (whsec_…)"));
    }
    match secret.strip_prefix("whsec_") {
        None => Err("is not a webhook signing secret (whsec_…)".to_owned()),
        Some("") => Err("is cut off: nothing follows whsec_".to_owned()),
        Some(rest) if !rest.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("has a space or another character that no secret has".to_owned())
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(secrets: &str, accounts: &str) -> String {
        Endpoints::parse(secrets, accounts).unwrap_err().to_string()
    }

    #[test]
    fn secrets_belong_to_the_default_endpoint_or_to_a_named_one() {
        let endpoints =
            Endpoints::parse("whsec_a, whsec_b,\neu:whsec_c,eu:whsec_d", "acct_1,eu:acct_2")
                .unwrap();
        assert_eq!(endpoints.summary(), "default (2 secrets, acct_1), eu (2 secrets, acct_2)");
        assert_eq!(endpoints.get("eu").unwrap().account.as_deref(), Some("acct_2"));
        assert!(endpoints.get("us").is_none());
    }

    #[test]
    fn what_is_no_signing_secret_is_named_and_not_quoted() {
        for (secret, kind) in [
            ("sk_live_hush", "a secret API key (sk_…)"),
            ("rk_live_hush", "a restricted API key (rk_…)"),
            ("pk_live_hush", "a publishable API key (pk_…)"),
            ("we_hush", "the id of a webhook endpoint (we_…)"),
            ("hush", "not a webhook signing secret (whsec_…)"),
            ("whsec_", "cut off"),
            ("whsec_hu sh", "a space"),
        ] {
            let line = problem(&format!("whsec_a,eu:{secret}"), "");
            assert!(line.starts_with("STRIPE_WEBHOOK_SECRETS: entry 2 (endpoint eu) "), "{line}");
            assert!(line.contains(kind) && !line.contains("hush"), "{line}");
        }
    }

    #[test]
    fn mistakes_in_the_lists_are_refused() {
        assert!(problem("", "").contains("holds no secret"));
        assert!(problem("whsec_a,whsec_a", "").contains("repeats"));
        assert!(problem("EU/x:whsec_a", "").contains("name"));
        assert!(problem("whsec_a", "eu:acct_1").contains("eu has no secret"));
        assert!(problem("whsec_a", "acct_1,acct_2").contains("two accounts"));
        assert!(problem("whsec_a", "ca_1").contains("not acct_"));
    }

    #[test]
    fn a_secret_in_a_wrong_place_is_not_quoted() {
        let line = problem("whsec_a,eu:whsec_b", "acct_1,eu:sk_live_hush");
        assert_eq!(line, "STRIPE_ACCOUNTS: entry 2 is not acct_…");
        for prefix in ["whsec_", "sk_", "rk_", "pk_", "we_"] {
            let line = problem(&format!("whsec_a,{prefix}hush:whsec_b"), "");
            assert!(line.starts_with("STRIPE_WEBHOOK_SECRETS: entry 2: "), "{line}");
            assert!(line.contains(prefix) && !line.contains("hush"), "{line}");
            let line = problem("whsec_a", &format!("{prefix}hush:acct_1"));
            assert!(line.starts_with("STRIPE_ACCOUNTS: entry 1: "), "{line}");
            assert!(!line.contains("hush"), "{line}");
        }
    }
}
