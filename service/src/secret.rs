//! Secrets from the environment (`X`), a flag, or a file (`X_FILE`).

use std::path::Path;

pub use secrecy::{ExposeSecret, SecretString};

use crate::exit::ConfigError;

/// The value of the secret setting `name` (such as `DATABASE_URL`), from the value itself or from
/// the file; `None` when neither is set. A file's trailing newline is not part of the secret.
/// Both at once is an error: one of them would be silently ignored.
pub fn optional(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<Option<SecretString>, ConfigError> {
    match (value, file) {
        (Some(_), Some(_)) => {
            Err(ConfigError::new(name, format!("is set together with {name}_FILE; keep one")))
        }
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => read(name, path).map(Some),
        (None, None) => Ok(None),
    }
}

/// [`optional`], for a secret that must be there and not be empty.
pub fn required(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<SecretString, ConfigError> {
    match optional(name, value, file)? {
        Some(secret) if !secret.expose_secret().trim().is_empty() => Ok(secret),
        Some(_) => Err(ConfigError::new(name, "is empty")),
        None => Err(ConfigError::new(name, format!("is not set (nor {name}_FILE)"))),
    }
}

fn read(name: &str, path: &Path) -> Result<SecretString, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::new(format!("{name}_FILE"), format!("{}: {error}", path.display()))
    })?;
    Ok(SecretString::from(text.trim_end_matches(['\n', '\r'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_one_place_only() {
        let value = SecretString::from("hush");
        let both = optional("X", Some(&value), Some(Path::new("/nonexistent"))).unwrap_err();
        assert_eq!(both.to_string(), "X: is set together with X_FILE; keep one");
        assert!(optional("X", None, None).unwrap().is_none());
        assert_eq!(required("X", Some(&value), None).unwrap().expose_secret(), "hush");
        assert_eq!(
            required("X", None, None).unwrap_err().to_string(),
            "X: is not set (nor X_FILE)"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = required("X", None, Some(Path::new("/nonexistent/x"))).unwrap_err();
        assert!(error.to_string().starts_with("X_FILE: /nonexistent/x: "), "{error}");
    }
}
