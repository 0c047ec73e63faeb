//! A bucket for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::{Created, ObjectStore};
use crate::fault::Fault;

/// A bucket in memory that fails its first calls.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) failures: Mutex<u32>,
}

impl Memory {
    pub(crate) fn objects(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self) -> Result<(), Fault> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.checked_sub(1) {
            Some(left) => {
                *failures = left;
                Err(Fault::retry("writing to S3", "503"))
            }
            None => Ok(()),
        }
    }
}

impl ObjectStore for Memory {
    async fn create(&self, key: &str, _: &str, body: Bytes) -> Result<Created, Fault> {
        self.fail()?;
        if self.objects().contains_key(key) {
            return Ok(Created::Exists);
        }
        self.objects().insert(key.to_owned(), body);
        Ok(Created::Written)
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        self.fail()?;
        Ok(self.objects().get(key).cloned())
    }

    /// Two keys an answer.
    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<String>, Fault> {
        self.fail()?;
        let objects = self.objects();
        let next = objects.keys().filter(|key| key.starts_with(prefix) && key.as_str() > after);
        Ok(next.take(2).cloned().collect())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        self.fail()?;
        let objects = self.objects();
        let rests = objects.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut folders: Vec<String> = rests
            .filter_map(|rest| rest.split_once('/'))
            .map(|(folder, _)| format!("{prefix}{folder}/"))
            .collect();
        folders.dedup();
        Ok(folders)
    }
}
