//! Objects in S3.

#[cfg(test)]
pub(crate) mod memory;
mod rewrite;

use std::future::Future;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use service::exit::ConfigError;

pub(crate) use self::rewrite::{Forgotten, Replaced};
use crate::aws;
use crate::fault::Fault;

/// Time for one call, the transfer of a whole segment included.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// What became of an object that was to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    /// It is there now, as given.
    Written,
    /// Another one was there before.
    Exists,
}

/// Where segments and manifests are kept.
pub(crate) trait ObjectStore: Send + Sync + 'static {
    /// Writes an object that does not exist yet. The first writer wins.
    fn create(
        &self,
        key: &str,
        content_type: &str,
        body: Bytes,
    ) -> impl Future<Output = Result<Created, Fault>> + Send;

    /// Reads an object; `None` if there is none.
    fn read(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Fault>> + Send;

    /// The next keys that begin with `prefix` and come after `after`, in order, as many as fit one
    /// answer; none when there are no more.
    fn list(
        &self,
        prefix: &str,
        after: &str,
    ) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// All folders right under `prefix`, which ends in a slash or is empty, in order. Each is a
    /// prefix of keys and ends in a slash. For places that hold few.
    fn folders(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;
}

/// A bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    pub(crate) async fn open(name: String) -> Result<Self, ConfigError> {
        let config = aws::config(CALL_TIMEOUT).await?;
        // Whoever names an endpoint has a stand-in or another maker's store: those have no
        // host names per bucket.
        let path_style =
            config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let config =
            aws_sdk_s3::config::Builder::from(&config).force_path_style(path_style).build();
        Ok(Self { client: Client::from_conf(config), name })
    }

    /// An object and its entity tag; `None` if there is none.
    async fn get(&self, key: &str) -> Result<Option<(Bytes, Option<String>)>, Fault> {
        let doing = "reading from S3";
        let got = match self.client.get_object().bucket(&self.name).key(key).send().await {
            Ok(got) => got,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(aws::fault(doing, error)),
        };
        let body = tokio::time::timeout(CALL_TIMEOUT, got.body.collect())
            .await
            .map_err(|error| Fault::retry(doing, error))?
            .map_err(|error| Fault::retry(doing, error))?;
        Ok(Some((body.into_bytes(), got.e_tag)))
    }
}

impl ObjectStore for Bucket {
    async fn create(&self, key: &str, content_type: &str, body: Bytes) -> Result<Created, Fault> {
        let put = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key)
            .if_none_match("*")
            .content_type(content_type)
            .body(ByteStream::from(body))
            .send()
            .await;
        match put {
            Ok(_) => Ok(Created::Written),
            // 409 is another writer at work at this moment: who wins shows when asked again.
            Err(error) if aws::status(&error) == Some(412) => Ok(Created::Exists),
            Err(error) => Err(aws::fault("writing to S3", error)),
        }
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        Ok(self.get(key).await?.map(|(body, _)| body))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Fault> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let listed = list.start_after(after).send().await;
        let listed = listed.map_err(|error| aws::fault("listing S3", error))?;
        Ok(listed.contents.into_iter().flatten().filter_map(|object| object.key).collect())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(prefix).delimiter("/");
        let mut pages = list.into_paginator().send();
        let mut folders = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws::fault("listing S3", error))?;
            let found = page.common_prefixes.into_iter().flatten();
            folders.extend(found.filter_map(|folder| folder.prefix));
        }
        Ok(folders)
    }
}
