//! The bucket that the log is copied to.
//!
//! May import its siblings.

use std::path::PathBuf;

use serde::Deserialize;
use validator::Validate;
use zeroize::Zeroizing;

use super::checks;

/// A bucket of an S3-compatible store to which the log is copied, when `name` is given. It must know `If-Match` on PUT.
#[derive(Clone, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct BucketConfig {
    /// Its name.
    #[validate(length(min = 3, max = 63), custom(function = "checks::is_bucket_name"))]
    pub name: Option<String>,
    /// The store's URL, `https://` or on loopback `http://`; Amazon's of the region when left out.
    #[validate(custom(function = "checks::is_endpoint"))]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    #[validate(length(min = 1, max = 64), custom(function = "checks::is_bucket_name"))]
    pub region: String,
    /// What every key begins with, a slash following; nothing when left out.
    #[validate(length(max = 255), custom(function = "checks::is_prefix"))]
    pub prefix: String,
    /// The id of the access key.
    #[validate(length(min = 1, max = 128))]
    pub key_id: Option<String>,
    /// `CUSTODIA_BUCKET_SECRET`: the access key itself.
    #[serde(skip)]
    pub secret: Option<Zeroizing<String>>,
    /// PEM: the roots that the store's certificate must lead to; the machine's when left out.
    #[validate(custom(function = "checks::is_file"))]
    pub roots: Option<PathBuf>,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            name: None,
            endpoint: None,
            region: "us-east-1".to_owned(),
            prefix: String::new(),
            key_id: None,
            secret: None,
            roots: None,
        }
    }
}
