//! Which secret signs for an endpoint.

/// The first secret of this endpoint in a `STRIPE_WEBHOOK_SECRETS` list (`whsec_a,eu:whsec_b`);
/// the endpoint `default` has the ones without a name.
pub fn signing_secret<'a>(secrets: &'a str, endpoint: &str) -> Option<&'a str> {
    let entries = secrets.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| entry.split_once(':').unwrap_or(("default", entry)))
        .find_map(|(name, secret)| (name == endpoint).then_some(secret))
}

#[cfg(test)]
mod tests {
    use super::signing_secret;

    #[test]
    fn each_endpoint_has_its_own() {
        let secrets = "whsec_a,whsec_b, eu:whsec_c\n";
        assert_eq!(signing_secret(secrets, "default"), Some("whsec_a"));
        assert_eq!(signing_secret(secrets, "eu"), Some("whsec_c"));
        assert_eq!(signing_secret(secrets, "us"), None);
    }
}
