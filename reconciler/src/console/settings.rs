//! Who may see the console, and its limits.
#![expect(
    clippy::struct_field_names,
    reason = "the field names are the names of flags and variables"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use clap::Args;
use ipnet::IpNet;
use service::exit::ConfigError;
use service::secret::{self, ExposeSecret as _, SecretString};
use service::units;

/// Shortest token: what a person could guess or remember is none.
const MIN_TOKEN: usize = 24;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Console")]
pub(crate) struct Settings {
    /// Tokens that let in: `NAME:TOKEN`, comma separated or one a line; NAME is who they stand for
    #[arg(long, env, hide_env_values = true)]
    console_tokens: Option<SecretString>,
    /// File that holds the tokens
    #[arg(long, env)]
    console_tokens_file: Option<PathBuf>,
    /// Header in which a proxy names the person that it has let in, such as `X-Forwarded-User`
    #[arg(long, env)]
    console_user_header: Option<String>,
    /// Networks of such proxies, comma separated: from elsewhere the header does not count
    #[arg(
        long,
        env,
        value_delimiter = ',',
        value_parser = network,
        default_value = "127.0.0.0/8,::1/128"
    )]
    console_proxies: Vec<IpNet>,
    /// Origin that browsers show where it is not the Host that arrives here, such as
    /// `https://console.example.org`; with https the session's cookie is `Secure`
    #[arg(long, env)]
    console_origin: Option<String>,
    /// How long a login lasts
    #[arg(long, env, default_value = "12h", value_parser = units::whole_seconds)]
    console_session: Duration,
    /// Open connections; more wait in the listener's queue
    #[arg(long, env, default_value_t = 256)]
    console_max_connections: usize,
    /// Requests at work, each with a connection to Postgres; more wait, then get 503
    #[arg(long, env, default_value_t = 4)]
    console_max_requests: u32,
    /// Time for one request
    #[arg(long, env, default_value = "15s", value_parser = units::duration)]
    console_request_timeout: Duration,
    /// Time for one statement, by the database's clock
    #[arg(long, env, default_value = "5s", value_parser = units::duration)]
    console_statement_timeout: Duration,
    /// Rows of a list's page
    #[arg(long, env, default_value_t = 50)]
    console_rows: u16,
}

/// What a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) requests: u32,
    pub(super) request: Duration,
    pub(super) statement: Duration,
    pub(super) rows: u16,
}

impl Settings {
    /// Most rows of a page: they are all in memory.
    const MAX_ROWS: u16 = 500;

    /// What clap cannot check. Nothing is opened yet.
    pub(crate) fn check(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        let is_open = self.tokens()?.is_empty() && self.user_header()?.is_none();
        if is_open && !listen.ip().to_canonical().is_loopback() {
            let problem = format!(
                "is {listen}, which other machines reach: set CONSOLE_TOKENS or CONSOLE_USER_HEADER"
            );
            return Err(ConfigError::new("CONSOLE_LISTEN", problem));
        }
        self.origin()?;
        for (name, is_zero) in [
            ("CONSOLE_SESSION", self.console_session.is_zero()),
            ("CONSOLE_MAX_CONNECTIONS", self.console_max_connections == 0),
            ("CONSOLE_MAX_REQUESTS", self.console_max_requests == 0),
            ("CONSOLE_REQUEST_TIMEOUT", self.console_request_timeout.is_zero()),
            ("CONSOLE_STATEMENT_TIMEOUT", self.console_statement_timeout.as_millis() == 0),
        ] {
            if is_zero {
                return Err(ConfigError::new(name, "must not be 0"));
            }
        }
        if !(1..=Self::MAX_ROWS).contains(&self.console_rows) {
            let problem = format!("must be from 1 to {}", Self::MAX_ROWS);
            return Err(ConfigError::new("CONSOLE_ROWS", problem));
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            connections: self.console_max_connections,
            requests: self.console_max_requests,
            request: self.console_request_timeout,
            statement: self.console_statement_timeout,
            rows: self.console_rows,
        }
    }

    /// The tokens with their names, each name once.
    pub(super) fn tokens(&self) -> Result<Vec<(String, SecretString)>, ConfigError> {
        let (value, file) = (self.console_tokens.as_ref(), self.console_tokens_file.as_deref());
        let Some(text) = secret::optional("CONSOLE_TOKENS", value, file)? else {
            return Ok(Vec::new());
        };
        let mut tokens: Vec<(String, SecretString)> = Vec::new();
        let entries = text.expose_secret().split([',', '\n']).map(str::trim);
        for (index, entry) in
            entries.filter(|it| !it.is_empty() && !it.starts_with('#')).enumerate()
        {
            // Neither is quoted: it may be a secret in the wrong place.
            let wrong = |what: String| {
                ConfigError::new("CONSOLE_TOKENS", format!("entry {}: {what}", index + 1))
            };
            let Some((name, token)) = entry.split_once(':') else {
                return Err(wrong("is not NAME:TOKEN".to_owned()));
            };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(wrong("its name is not made of letters, digits and . _ - @".into()));
            }
            if token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong(format!(
                    "its token has fewer than {MIN_TOKEN} characters, or odd ones; \
                     `openssl rand -hex 24` makes one"
                )));
            }
            if tokens.iter().any(|(known, _)| known == name) {
                return Err(wrong("another entry has its name".to_owned()));
            }
            tokens.push((name.to_owned(), SecretString::from(token)));
        }
        if tokens.is_empty() {
            return Err(ConfigError::new("CONSOLE_TOKENS", "holds no token"));
        }
        Ok(tokens)
    }

    pub(super) fn user_header(&self) -> Result<Option<HeaderName>, ConfigError> {
        let name = self.console_user_header.as_deref().map(str::trim);
        let parse = |name: &str| {
            name.parse().map_err(|_| ConfigError::new("CONSOLE_USER_HEADER", "is no header's name"))
        };
        name.filter(|name| !name.is_empty()).map(parse).transpose()
    }

    pub(super) fn proxies(&self) -> &[IpNet] {
        &self.console_proxies
    }

    pub(super) fn origin(&self) -> Result<Option<&str>, ConfigError> {
        let origin = self.console_origin.as_deref().map(|it| it.trim().trim_end_matches('/'));
        let origin = origin.filter(|origin| !origin.is_empty());
        let rest = origin.map(|it| it.strip_prefix("https://").or(it.strip_prefix("http://")));
        match rest {
            None => Ok(None),
            Some(Some(host)) if !host.is_empty() && !host.contains('/') => Ok(origin),
            Some(_) => {
                Err(ConfigError::new("CONSOLE_ORIGIN", "is not https://HOST or http://HOST"))
            }
        }
    }

    pub(super) fn session(&self) -> Duration {
        self.console_session
    }
}

/// A network (`10.0.0.0/8`) or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.trim().parse().or_else(|_| address());
    network.map_err(|_| "is neither a network, such as 10.0.0.0/8, nor an address".to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    pub(crate) fn settings(arguments: &[&str]) -> Settings {
        Line::try_parse_from(["console"].iter().chain(arguments)).unwrap().settings
    }

    const HERE: &str = "127.0.0.1:1";
    const EVERYWHERE: &str = "0.0.0.0:1";
    const TOKEN: &str = "--console-tokens=ada:0123456789abcdef01234567";

    fn check(listen: &str, arguments: &[&str]) -> Result<(), String> {
        settings(arguments).check(listen.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn nobody_else_reaches_a_console_without_a_rule_of_access() {
        let refusal = "CONSOLE_LISTEN: is 0.0.0.0:1, which other machines reach: set CONSOLE_TOKENS \
                       or CONSOLE_USER_HEADER";
        assert_eq!(check(EVERYWHERE, &[]), Err(refusal.to_owned()));
        assert!(check("[::]:1", &[]).is_err());
        assert!(check(EVERYWHERE, &["--console-user-header= "]).is_err());
        for allowed in [HERE, "[::1]:1", "127.9.9.9:1"] {
            assert_eq!(check(allowed, &[]), Ok(()), "{allowed}");
        }
        assert_eq!(check(EVERYWHERE, &[TOKEN]), Ok(()));
        assert_eq!(check(EVERYWHERE, &["--console-user-header=X-Forwarded-User"]), Ok(()));
    }

    #[test]
    fn a_bad_token_is_refused_and_not_repeated() {
        for (tokens, problem) in [
            ("hunter2hunter2hunter2hunter2", "entry 1: is not NAME:TOKEN"),
            ("ada:hunter2", "entry 1: its token has fewer than 24 characters"),
            ("a b:0123456789abcdef01234567", "entry 1: its name"),
            ("ada:0123456789abcdef01234567,ada:0123456789abcdef01234568", "entry 2: another"),
            (" , ", "holds no token"),
        ] {
            let said = check(HERE, &[&format!("--console-tokens={tokens}")]).unwrap_err();
            assert!(said.starts_with("CONSOLE_TOKENS: ") && said.contains(problem), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn what_clap_lets_pass_is_checked() {
        for (argument, name) in [
            ("--console-origin=console.example.org", "CONSOLE_ORIGIN"),
            ("--console-origin=https://a/b", "CONSOLE_ORIGIN"),
            ("--console-user-header=a b", "CONSOLE_USER_HEADER"),
            ("--console-rows=0", "CONSOLE_ROWS"),
            ("--console-rows=501", "CONSOLE_ROWS"),
            ("--console-max-requests=0", "CONSOLE_MAX_REQUESTS"),
            ("--console-session=0", "CONSOLE_SESSION"),
        ] {
            assert!(check(HERE, &[argument]).unwrap_err().starts_with(name), "{argument}");
        }
        assert!(Line::try_parse_from(["console", "--console-proxies=ten"]).is_err());
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(network("10.0.0.7"), Ok("10.0.0.7/32".parse().unwrap()));
        assert!(network("10.0.0.0/33").is_err());
    }
}
