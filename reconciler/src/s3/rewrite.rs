//! Objects that are put in the place of others. Only erasing does that.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::Bucket;
use crate::aws;
use crate::fault::Fault;

/// An object, and what tells whether it is still the same.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) body: Bytes,
    pub(crate) etag: String,
}

/// What became of an object that was to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replaced {
    /// It is the new one now.
    Written,
    /// It is not the one any more that was read.
    Changed,
}

/// What became of an object's older versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Versions that are gone.
    pub(crate) deleted: usize,
    /// Versions that the bucket keeps, or may keep, and why.
    pub(crate) refused: Option<String>,
}

impl Bucket {
    /// Reads an object with its entity tag; `None` if there is none.
    pub(crate) async fn read_tagged(&self, key: &str) -> Result<Option<Tagged>, Fault> {
        let Some((body, etag)) = self.get(key).await? else { return Ok(None) };
        let etag = etag.ok_or_else(|| Fault::halt("reading from S3", "there is no ETag"))?;
        Ok(Some(Tagged { body, etag }))
    }

    /// When an object was written, Unix seconds; `None` if there is none.
    pub(crate) async fn written_at(&self, key: &str) -> Result<Option<i64>, Fault> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(head) => Ok(Some(head.last_modified.map_or(0, |moment| moment.secs()))),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                Ok(None)
            }
            Err(error) => Err(aws::fault("asking S3 for an object", error)),
        }
    }

    /// Puts an object in the place of the one with this entity tag, and of no other.
    pub(crate) async fn replace(
        &self,
        key: &str,
        content_type: &str,
        body: Bytes,
        etag: &str,
    ) -> Result<Replaced, Fault> {
        let put = self.client.put_object().bucket(&self.name).key(key).if_match(etag);
        let put = put.content_type(content_type).body(ByteStream::from(body)).send().await;
        match put {
            Ok(_) => Ok(Replaced::Written),
            // 404: it was deleted; 409: somebody else is at work.
            Err(error) if matches!(aws::status(&error), Some(404 | 409 | 412)) => {
                Ok(Replaced::Changed)
            }
            Err(error) => Err(aws::fault("writing to S3", error)),
        }
    }

    /// Deletes every version of an object but the current one. A bucket that keeps no versions has
    /// none; one that refuses says so in the answer, for no second try would help.
    pub(crate) async fn forget_versions(&self, key: &str) -> Result<Forgotten, Fault> {
        let mut forgotten = Forgotten::default();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = self.client.list_object_versions().bucket(&self.name).prefix(key);
            let list = list
                .set_key_marker(key_marker.take())
                .set_version_id_marker(version_marker.take())
                .send()
                .await;
            let page = match list {
                Ok(page) => page,
                Err(error) => {
                    let refused = refusal("listing its versions", error)?;
                    return Ok(Forgotten { refused: Some(refused), ..forgotten });
                }
            };
            let is_older = |version: &aws_sdk_s3::types::ObjectVersion| {
                version.key() == Some(key) && version.is_latest() != Some(true)
            };
            for version in page.versions().iter().filter(|version| is_older(version)) {
                let delete = self.client.delete_object().bucket(&self.name).key(key);
                let delete = delete.set_version_id(version.version_id.clone()).send().await;
                match delete {
                    Ok(_) => forgotten.deleted += 1,
                    Err(error) => {
                        forgotten.refused = Some(refusal("deleting an older version", error)?);
                    }
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(forgotten);
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}

/// Why the bucket will not, or the fault that passes.
fn refusal<E>(doing: &'static str, error: aws_sdk_s3::error::SdkError<E>) -> Result<String, Fault>
where
    E: std::error::Error + aws_sdk_s3::error::ProvideErrorMetadata + Send + Sync + 'static,
{
    // A server that does not do this at all answers 501 or 405.
    match aws::status(&error) {
        Some(400..=499 | 501) => Ok(format!("{doing}: {}", error.code().unwrap_or("refused"))),
        _ => Err(aws::fault(doing, error)),
    }
}
