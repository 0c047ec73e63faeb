//! What the clients of S3 and Firehose share: credentials, region, time-outs, faults.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use service::exit::ConfigError;

use crate::fault::{Decision, Fault};

/// Time to reach the service.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Credentials, region and endpoint as every AWS tool reads them. Retries are the roles' own, so
/// that each failed attempt shows; `call_timeout` is for one call, its answer included.
pub(crate) async fn config(call_timeout: Duration) -> Result<SdkConfig, ConfigError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(call_timeout)
        .operation_attempt_timeout(call_timeout)
        .build();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .load()
        .await;
    match config.region() {
        Some(region) if !region.as_ref().is_empty() => Ok(config),
        _ => Err(ConfigError::new("AWS_REGION", "is not set, nor does a profile name a region")),
    }
}

/// Whether there is what every client needs.
pub(crate) async fn check() -> Result<(), ConfigError> {
    config(CONNECT_TIMEOUT).await.map(drop)
}

/// Error codes that only a person can cure. They are retried all the same, for the cure needs no
/// restart, but each is logged as an error.
const FOR_A_PERSON: [&str; 11] = [
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidBucketName",
    "NoSuchBucket",
    "ResourceNotFoundException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "PermanentRedirect",
];

/// A failed call: always tried again.
pub(crate) fn fault<E>(doing: &'static str, error: SdkError<E>) -> Fault
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let for_a_person = match &error {
        SdkError::ConstructionFailure(_) => true,
        other => other.code().is_some_and(|code| FOR_A_PERSON.contains(&code)),
    };
    let fault = Fault::new(Decision::Retry, doing, error);
    if for_a_person { fault.for_a_person() } else { fault }
}

/// HTTP status of the answer, if there was one.
pub(crate) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}
