//! Where a mirror's files lie: in a folder, or in a bucket of an S3-compatible store.
//!
//! May import `config`, `durable`. A file is there whole or not at all, in both: a folder by `durable`'s renames, a bucket
//! because a PUT is. Files other than the checkpoint are made of the log alone, so that it does not matter which server puts
//! them; the checkpoint of a bucket, which several servers may bring up, replaces only the one that was read before
//! (`If-Match`): it never goes back, and none of its files is swept away under it.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    BackoffConfig, Certificate, ClientOptions, Error as StoreError, ObjectStore, ObjectStoreExt as _,
    PutMode, PutOptions, RetryConfig, UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as Key,
};

use crate::{
    config::BucketConfig,
    durable::{self, Durable},
};

/// Requests to a bucket at a time.
const REQUESTS_MAX: usize = 8;
/// How long a bucket may take to answer one.
const WITHIN: Duration = Duration::from_secs(30);
/// The most files of one folder of a bucket that are removed at a time.
const REMOVED_MAX: usize = 256;

/// The file that is put to see what the store makes of conditions, and an ETag that it never has.
const PROBE: &str = "probe";
const NO_TAG: &str = "\"00000000000000000000000000000000\"";

/// Why a file cannot be read or put.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The system says no.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The store says no, or nothing.
    #[error("{0} in the bucket")]
    Bucket(String, #[source] Box<StoreError>),
    /// A file in the bucket is longer than it may be.
    #[error("{0} in the bucket is too long")]
    TooLong(String),
    /// The bucket's configuration cannot be used.
    #[error("[bucket]: {0}")]
    Unusable(&'static str),
}

/// Where files lie.
#[derive(Clone)]
pub(super) enum Place {
    /// A folder.
    Folder(PathBuf, Durable),
    /// A bucket.
    Bucket(Bucket),
}

/// What a checkpoint replaces.
#[derive(Clone, Debug)]
pub(super) enum Replaced {
    /// Whatever is there: a folder has one server.
    Any,
    /// Nothing: there must be none.
    None,
    /// The one with this ETag.
    Tag(String),
}

/// A bucket of an S3-compatible store, and the prefix of its keys that is ours.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    name: String,
}

impl Bucket {
    /// The bucket that the configuration names; `None` if it names none. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`PlaceError::Unusable`].
    pub fn open(config: &BucketConfig) -> Result<Option<Self>, PlaceError> {
        let Some(name) = &config.name else { return Ok(None) };
        let (Some(id), Some(secret)) = (&config.key_id, &config.secret) else {
            return Err(PlaceError::Unusable("key_id and CUSTODIA_BUCKET_SECRET are wanted"));
        };
        let mut options =
            ClientOptions::new().with_timeout(WITHIN).with_connect_timeout(WITHIN).with_allow_http(false);
        if let Some(path) = &config.roots {
            let pem = fs::read(path).map_err(|error| PlaceError::File(path.clone(), error))?;
            let roots = Certificate::from_pem_bundle(&pem);
            let roots = roots.map_err(|_| PlaceError::Unusable("roots: expected PEM certificates"))?;
            options = options.with_no_system_certificates(true);
            options = roots.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        // The next round is the retry: it is made of what the log says by then.
        let retry = RetryConfig { max_retries: 0, retry_timeout: WITHIN, backoff: BackoffConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_client_options(options)
            .with_retry(retry)
            .with_bucket_name(name)
            .with_region(&config.region)
            .with_access_key_id(id)
            .with_secret_access_key(secret.as_str())
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = &config.endpoint {
            // The configuration lets plain HTTP through on loopback alone.
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let store = builder.build().map_err(|_| PlaceError::Unusable("endpoint, name or region"))?;
        Ok(Some(Self { store: Arc::new(store), prefix: config.prefix.clone(), name: name.clone() }))
    }

    fn key(&self, name: &str) -> Key {
        if self.prefix.is_empty() { Key::from(name) } else { Key::from(format!("{}/{name}", self.prefix)) }
    }

    async fn read(&self, name: &str, bytes_max: usize) -> Result<Option<(Vec<u8>, Replaced)>, PlaceError> {
        let failed = |error| PlaceError::Bucket(name.to_owned(), Box::new(error));
        let found = match self.store.get(&self.key(name)).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if usize::try_from(found.meta.size).is_ok_and(|size| size <= bytes_max) {
            let tag = found.meta.e_tag.clone().map_or(Replaced::Any, Replaced::Tag);
            return Ok(Some((found.bytes().await.map_err(failed)?.to_vec(), tag)));
        }
        Err(PlaceError::TooLong(name.to_owned()))
    }

    async fn put(&self, name: &str, bytes: Vec<u8>, mode: PutMode) -> Result<Put, PlaceError> {
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.key(name), bytes.into(), options).await {
            Ok(_) => Ok(Put::Done),
            Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => Ok(Put::Overtaken),
            Err(error) => Err(PlaceError::Bucket(name.to_owned(), Box::new(error))),
        }
    }

    /// Whether the store refuses to replace a file that is another than the one that was read: all that keeps two servers from
    /// putting its checkpoint back. One that does not know the condition takes the PUT.
    async fn keeps_conditions(&self) -> Result<bool, PlaceError> {
        self.put(PROBE, Vec::new(), PutMode::Overwrite).await?;
        let other = UpdateVersion { e_tag: Some(NO_TAG.to_owned()), version: None };
        Ok(self.put(PROBE, Vec::new(), PutMode::Update(other)).await? == Put::Overtaken)
    }

    async fn remove_all(&self, folder: &str) -> Result<(), StoreError> {
        let prefix = self.key(folder);
        let found: Vec<_> = self.store.list(Some(&prefix)).take(REMOVED_MAX).try_collect().await?;
        let removed =
            found.into_iter().map(|object| async move { self.store.delete(&object.location).await });
        stream::iter(removed).buffer_unordered(REQUESTS_MAX).try_collect().await
    }
}

/// What became of putting a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there.
    Done,
    /// Another server has put one since; that one stands.
    Overtaken,
}

impl Place {
    /// Where a file is, for people.
    pub(super) fn describe(&self, name: &str) -> String {
        match self {
            Self::Folder(folder, _) => folder.join(name).display().to_string(),
            Self::Bucket(bucket) => format!("s3://{}/{}", bucket.name, bucket.key(name)),
        }
    }

    /// A file of at most `bytes_max`, and what replaces it; `None` if there is none.
    pub(super) async fn read(
        &self,
        name: &str,
        bytes_max: usize,
    ) -> Result<Option<(Vec<u8>, Replaced)>, PlaceError> {
        match self {
            Self::Folder(folder, _) => {
                let path = folder.join(name);
                let read = {
                    let path = path.clone();
                    blocking(move || durable::read(&path, bytes_max)).await
                };
                let read = read.map_err(|error| PlaceError::File(path, error))?;
                Ok(read.map(|bytes| (bytes, Replaced::Any)))
            }
            Self::Bucket(bucket) => bucket.read(name, bytes_max).await,
        }
    }

    /// Whether a checkpoint replaces only the one that was read before; a folder has one server.
    pub(super) async fn keeps_conditions(&self) -> Result<bool, PlaceError> {
        match self {
            Self::Folder(..) => Ok(true),
            Self::Bucket(bucket) => bucket.keeps_conditions().await,
        }
    }

    /// Puts files, in any order; all of them are there once this is done.
    pub(super) async fn put_all(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), PlaceError> {
        match self {
            Self::Folder(folder, durable) => {
                let (durable, root) = (durable.clone(), folder.clone());
                let files: Vec<_> =
                    files.into_iter().map(|(name, bytes)| (folder.join(name), bytes)).collect();
                let put = blocking(move || durable.put_all(&files)).await;
                put.map_err(|error| PlaceError::File(root, error))
            }
            Self::Bucket(bucket) => {
                let puts = files.into_iter().map(|(name, bytes)| async move {
                    bucket.put(&name, bytes, PutMode::Overwrite).await.map(|_| ())
                });
                stream::iter(puts).buffer_unordered(REQUESTS_MAX).try_collect().await
            }
        }
    }

    /// Puts the file that speaks of all others, in the place of the one that was read.
    pub(super) async fn put_last(
        &self,
        name: &str,
        bytes: Vec<u8>,
        replaced: Replaced,
    ) -> Result<Put, PlaceError> {
        match self {
            Self::Folder(..) => self.put_all(vec![(name.to_owned(), bytes)]).await.map(|()| Put::Done),
            Self::Bucket(bucket) => {
                let mode = match replaced {
                    Replaced::Any => PutMode::Overwrite,
                    Replaced::None => PutMode::Create,
                    Replaced::Tag(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None }),
                };
                bucket.put(name, bytes, mode).await
            }
        }
    }

    /// Removes everything in a folder. What stays by a mistake only takes room.
    pub(super) async fn remove_all(&self, name: &str) {
        match self {
            Self::Folder(folder, _) => drop(fs::remove_dir_all(folder.join(name))),
            Self::Bucket(bucket) => drop(bucket.remove_all(name).await),
        }
    }

    /// Removes a file. What stays by a mistake only takes room.
    pub(super) async fn remove(&self, name: &str) {
        match self {
            Self::Folder(folder, _) => drop(fs::remove_file(folder.join(name))),
            Self::Bucket(bucket) => drop(bucket.store.delete(&bucket.key(name)).await),
        }
    }
}

/// Files are read and synced away from the threads that serve.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("it broke off")))
}
