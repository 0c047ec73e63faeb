//! Who is asking.
//!
//! A token proves a name: as a bearer token, or as the session that the login page made of it. A
//! proxy that is trusted names its user. Without either rule the console is open to this machine
//! alone, and only under this machine's own names: a page elsewhere whose name was made to lead here
//! ("DNS rebinding") is refused.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderName;
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderValue, ORIGIN};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ipnet::IpNet;
use service::exit::ConfigError;
use service::secret::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::settings::Settings;

/// The session's cookie. The browser holds the second name to https and to this host.
const COOKIE_NAME: &str = "reconciler-console";
const SECURE_COOKIE_NAME: &str = "__Host-reconciler-console";
/// How browsers say where a request comes from. <https://www.w3.org/TR/fetch-metadata>
const FETCH_SITE: &str = "sec-fetch-site";

/// The rules.
pub(super) struct Access {
    tokens: Vec<Token>,
    user_header: Option<HeaderName>,
    proxies: Vec<IpNet>,
    origin: Option<String>,
    session: Duration,
}

struct Token {
    name: String,
    digest: [u8; 32],
    /// Keyed with the token, so that a session ends with it.
    mac: Hmac<Sha256>,
}

/// Somebody who may see the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    /// Of the token, or what the proxy says; none on an open console.
    pub(super) name: Option<String>,
    pub(super) proof: Proof,
}

/// How they came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Bearer,
    Session,
    Proxy,
    /// Nobody else reaches it.
    Loopback,
}

impl Access {
    pub(super) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            tokens: settings
                .tokens()?
                .iter()
                .map(|(name, token)| Token::new(name, token))
                .collect(),
            user_header: settings.user_header()?,
            proxies: settings.proxies().to_vec(),
            origin: settings.origin()?.map(str::to_owned),
            session: settings.session(),
        })
    }

    /// Whether there is something that the login page can check.
    pub(super) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Who sent a request with these headers from this address. `now` is in Unix seconds.
    pub(super) fn visitor(&self, headers: &HeaderMap, peer: IpAddr, now: i64) -> Option<Visitor> {
        let named = |name: &str, proof| Visitor { name: Some(name.to_owned()), proof };
        if let Some(token) = self.bearer(headers) {
            return Some(named(&token.name, Proof::Bearer));
        }
        if let Some(user) = self.proxied(headers, peer) {
            return Some(named(user, Proof::Proxy));
        }
        if let Some(name) = self.session_of(headers, now) {
            return Some(named(name, Proof::Session));
        }
        let is_open = self.tokens.is_empty() && self.user_header.is_none();
        (is_open && is_loopback_name(headers))
            .then_some(Visitor { name: None, proof: Proof::Loopback })
    }

    /// Whether a request that changes something comes from the console's own pages, or from a
    /// program that holds a token: no page elsewhere can send that. Another `Authorization` proves
    /// nothing, for a proxy may add its own to whatever it passes on.
    pub(super) fn is_own(&self, headers: &HeaderMap) -> bool {
        if self.bearer(headers).is_some() {
            return true;
        }
        let Some(origin) = headers.get(ORIGIN).map(HeaderValue::as_bytes) else {
            return headers.get(FETCH_SITE).is_some_and(|site| site == "same-origin");
        };
        if let Some(own) = &self.origin {
            return origin == own.as_bytes();
        }
        let authority =
            [&b"https://"[..], b"http://"].iter().find_map(|it| origin.strip_prefix(*it));
        authority.is_some() && authority == headers.get(HOST).map(HeaderValue::as_bytes)
    }

    /// The cookie of a new session for whoever holds this token.
    pub(super) fn login(&self, token: &str, now: i64) -> Option<HeaderValue> {
        let token = self.token(token.trim())?;
        let seconds = self.session.as_secs();
        let expiry = now.saturating_add_unsigned(seconds);
        let mac = hex::encode(token.session(expiry).finalize().into_bytes());
        self.cookie(&format!("{}.{expiry}.{mac}", token.name), seconds)
    }

    /// The cookie that ends a session in this browser.
    pub(super) fn logout(&self) -> Option<HeaderValue> {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> Option<HeaderValue> {
        let (name, secure) = (self.cookie_name(), if self.is_https() { "; Secure" } else { "" });
        let cookie =
            format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(cookie).ok()
    }

    fn cookie_name(&self) -> &'static str {
        if self.is_https() { SECURE_COOKIE_NAME } else { COOKIE_NAME }
    }

    fn is_https(&self) -> bool {
        self.origin.as_deref().is_some_and(|origin| origin.starts_with("https://"))
    }

    /// The token that this is. Every one is looked at, so that time tells nothing.
    fn token(&self, said: &str) -> Option<&Token> {
        let digest = Sha256::digest(said.as_bytes());
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.digest.ct_eq(digest.as_slice())) {
                found = Some(token);
            }
        }
        found
    }

    /// The token that is sent as `Authorization: Bearer TOKEN`.
    fn bearer(&self, headers: &HeaderMap) -> Option<&Token> {
        let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        self.token(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))
    }

    /// The user that a trusted proxy names: once, and not as nothing.
    fn proxied<'a>(&self, headers: &'a HeaderMap, peer: IpAddr) -> Option<&'a str> {
        let name = self.user_header.as_ref()?;
        let peer = peer.to_canonical();
        if !self.proxies.iter().any(|network| network.contains(&peer)) {
            return None;
        }
        let mut said = headers.get_all(name).iter();
        let user = said.next().filter(|_| said.next().is_none())?.to_str().ok()?.trim();
        Some(user).filter(|user| !user.is_empty())
    }

    /// The name of the token that the session's cookie was made of.
    fn session_of(&self, headers: &HeaderMap, now: i64) -> Option<&str> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).map(str::trim);
        let value =
            pairs.find_map(|pair| pair.strip_prefix(self.cookie_name())?.strip_prefix('='))?;
        let mut parts = value.rsplitn(3, '.');
        let (mac, expiry, name) = (parts.next()?, parts.next()?, parts.next()?);
        let expiry: i64 = expiry.parse().ok().filter(|expiry| *expiry > now)?;
        let token = self.tokens.iter().find(|token| token.name == name)?;
        token.session(expiry).verify_slice(&hex::decode(mac).ok()?).ok()?;
        Some(&token.name)
    }
}

impl Token {
    fn new(name: &str, token: &SecretString) -> Self {
        let key = token.expose_secret().as_bytes();
        // A key of any length is taken.
        let mac = Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&[0; 64].into()));
        Self { name: name.to_owned(), digest: Sha256::digest(key).into(), mac }
    }

    /// What proves that a session until then was made here, with this token.
    fn session(&self, expiry: i64) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(format!("reconciler console session {} {expiry}", self.name).as_bytes());
        mac
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tokens.len(), &self.user_header) {
            (0, None) => f.write_str("anybody on this machine"),
            (0, Some(header)) => write!(f, "a proxy's {header}"),
            (tokens, None) => write!(f, "{tokens} tokens"),
            (tokens, Some(header)) => write!(f, "{tokens} tokens, a proxy's {header}"),
        }
    }
}

/// Whether the Host is one of this machine's names for itself.
fn is_loopback_name(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::settings;
    use super::*;

    const ADA: &str = "0123456789abcdef01234567";
    const BOB: &str = "abcdefabcdefabcdefabcdef";
    const NOW: i64 = 1_760_000_000;
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn access(arguments: &[&str]) -> Access {
        Access::new(&settings(arguments)).unwrap()
    }

    fn with_tokens() -> Access {
        access(&[&format!("--console-tokens=ada:{ADA},b.o.b:{BOB}")])
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn name(access: &Access, pairs: &[(&'static str, &str)], now: i64) -> Option<(String, Proof)> {
        let visitor = access.visitor(&headers(pairs), HERE, now)?;
        Some((visitor.name.unwrap_or_default(), visitor.proof))
    }

    #[test]
    fn a_token_lets_in_and_nothing_like_it_does() {
        let access = with_tokens();
        let with = |said: &str| name(&access, &[("authorization", said)], NOW);
        assert_eq!(with(&format!("Bearer {ADA}")), Some(("ada".into(), Proof::Bearer)));
        assert_eq!(with(&format!("bearer  {BOB} ")), Some(("b.o.b".into(), Proof::Bearer)));
        for wrong in ["", "Bearer", "Bearer ", "Basic YTpi", &ADA[..23], "Bearer ada"] {
            assert_eq!(with(wrong), None, "{wrong}");
        }
        assert_eq!(with(&format!("Bearer {ADA}0")), None);
        assert_eq!(with(&format!("Bearer {}", &ADA[..23])), None);
        assert_eq!(name(&access, &[("host", "localhost")], NOW), None);
    }

    /// What a browser sends back.
    fn cookie(access: &Access, token: &str) -> String {
        let set = access.login(token, NOW).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{set}");
        assert!(!set.contains(token), "the token itself stays out of the cookie");
        set.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_session_lasts_its_time_and_no_longer_than_its_token() {
        let access = with_tokens();
        let session = cookie(&access, BOB);
        let with = |cookie: &str, now| name(&access, &[("cookie", cookie)], now);
        let bob = Some(("b.o.b".to_owned(), Proof::Session));
        assert_eq!(with(&session, NOW), bob);
        assert_eq!(with(&format!("a=b; {session}; c=d"), NOW + 43_199), bob);
        assert_eq!(with(&session, NOW + 43_200), None);
        // Another name, a later end, another signature.
        assert_eq!(with(&session.replace("b.o.b", "ada"), NOW), None);
        let end = (NOW + 43_200).to_string();
        assert_eq!(with(&session.replace(&end, "1860000000"), NOW), None);
        assert_eq!(with(&session[..session.len() - 2], NOW), None);
        assert_eq!(with("reconciler-console=", NOW), None);
        let changed =
            Access { tokens: vec![Token::new("b.o.b", &SecretString::from(ADA))], ..with_tokens() };
        assert_eq!(name(&changed, &[("cookie", &session)], NOW), None);
        assert!(access.login("ada", NOW).is_none());
        assert!(access.logout().unwrap().to_str().unwrap().contains("=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn https_makes_the_cookie_secure() {
        let token = format!("--console-tokens=ada:{ADA}");
        let access = access(&[&token, "--console-origin=https://console.example.org"]);
        let set = access.login(ADA, NOW).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.starts_with("__Host-reconciler-console=ada.") && set.ends_with("; Secure"));
        let cookie = set.split(';').next().unwrap();
        assert!(name(&access, &[("cookie", cookie)], NOW).is_some());
        let plain = cookie.trim_start_matches("__Host-");
        assert_eq!(name(&access, &[("cookie", plain)], NOW), None);
    }

    #[test]
    fn a_proxy_is_believed_from_its_network_only() {
        let header = "--console-user-header=X-Forwarded-User";
        let access = access(&[header, "--console-proxies=10.1.0.0/16,127.0.0.1"]);
        let from = |peer: &str, pairs: &[(&'static str, &str)]| {
            let visitor = access.visitor(&headers(pairs), peer.parse().unwrap(), NOW)?;
            visitor.name
        };
        let ada = [("x-forwarded-user", "ada@example.org")];
        for peer in ["10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3"] {
            assert_eq!(from(peer, &ada).as_deref(), Some("ada@example.org"), "{peer}");
        }
        for peer in ["10.2.0.1", "127.0.0.2", "::1"] {
            assert_eq!(from(peer, &ada), None, "{peer}");
        }
        let both = [ada[0], ("authorization", "Bearer the-proxy's-own")];
        assert_eq!(from("127.0.0.1", &both).as_deref(), Some("ada@example.org"));
        assert_eq!(from("127.0.0.1", &[("x-forwarded-user", " ")]), None);
        assert_eq!(from("127.0.0.1", &[ada[0], ("x-forwarded-user", "eve")]), None);
        assert_eq!(from("127.0.0.1", &[("host", "localhost")]), None);
    }

    #[test]
    fn an_open_console_answers_to_this_machines_names_only() {
        let access = access(&[]);
        for host in ["localhost", "LOCALHOST:9466", "127.0.0.1:9466", "[::1]:9466", "127.3.2.1"] {
            let visitor = name(&access, &[("host", host)], NOW);
            assert_eq!(visitor, Some((String::new(), Proof::Loopback)), "{host}");
        }
        for host in ["evil.example", "evil.example:9466", "localhost.evil.example", "10.0.0.1", ""]
        {
            assert_eq!(name(&access, &[("host", host)], NOW), None, "{host}");
        }
    }

    #[test]
    fn only_own_pages_and_programs_change_anything() {
        let open = access(&[]);
        let (host, token) = (("host", "c.test:1"), ("authorization", "Bearer x"));
        for (pairs, own) in [
            (&[host, ("origin", "http://c.test:1")][..], true),
            (&[host, ("origin", "https://c.test:1")], true),
            (&[host, ("origin", "http://c.test:2")], false),
            (&[host, ("origin", "http://evil.test")], false),
            (&[host, ("origin", "null")], false),
            (&[host, ("origin", "null"), ("sec-fetch-site", "same-origin")], false),
            (&[host, ("sec-fetch-site", "same-origin")], true),
            (&[host, ("sec-fetch-site", "same-site")], false),
            (&[host, ("sec-fetch-site", "cross-site")], false),
            (&[host], false),
            // A proxy may have added it.
            (&[host, token, ("origin", "http://evil.test")], false),
        ] {
            assert_eq!(open.is_own(&headers(pairs)), own, "{pairs:?}");
        }
        let (right, elsewhere) = (format!("Bearer {ADA}"), ("origin", "http://evil.test"));
        let program = [host, elsewhere, ("authorization", &*right)];
        assert!(with_tokens().is_own(&headers(&program)));
        assert!(!with_tokens().is_own(&headers(&[host, elsewhere, token])));
        let named = access(&["--console-origin=https://console.example.org/"]);
        assert!(named.is_own(&headers(&[host, ("origin", "https://console.example.org")])));
        assert!(!named.is_own(&headers(&[host, ("origin", "http://c.test:1")])));
    }
}
