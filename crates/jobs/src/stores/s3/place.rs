//! Where a bucket is, and the key that opens it.

use std::fmt;
use std::path::PathBuf;

use offtake_egress::{Remote, SettingNames};
use offtake_http::Endpoint;

use crate::stores::Key;

/// A bucket, or what is below a prefix in one.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketPlace {
    pub endpoint: Endpoint,
    pub bucket: String,
    pub prefix: Option<Key>,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// The certificate authorities to believe instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl fmt::Debug for BucketPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketPlace").field("at", &self.shown()).finish_non_exhaustive()
    }
}

/// The lengths that S3 has for names of buckets.
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;

impl BucketPlace {
    /// Whether a bucket can have that name.
    pub fn is_bucket(name: &str) -> bool {
        let of_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        BUCKET_CHARS.contains(&name.len())
            && name.chars().all(of_name)
            && !name.starts_with(['.', '-'])
            && !name.contains("..")
    }

    /// The endpoint of Amazon's for a region.
    pub fn amazon(region: &str) -> Option<Endpoint> {
        let of_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let known = !region.is_empty() && region.chars().all(of_region);
        known.then(|| Endpoint::https(&format!("s3.{region}.amazonaws.com"), ""))
    }

    /// What people find it by. Without the key that opens it.
    pub fn shown(&self) -> String {
        let below = self.prefix.as_ref().map(|prefix| format!("/{prefix}")).unwrap_or_default();
        format!("s3://{}{below} at {}", self.bucket, self.endpoint.authority())
    }

    /// Whether objects of the two could meet.
    pub fn overlaps(&self, other: &Self) -> bool {
        let below = |one: &Self, two: &Self| match (&one.prefix, &two.prefix) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(one), Some(two)) => one == two || one.as_str().starts_with(&format!("{two}/")),
        };
        self.endpoint == other.endpoint
            && self.bucket == other.bucket
            && (below(self, other) || below(other, self))
    }

    pub(super) fn remote(&self) -> Remote {
        let settings = SettingNames {
            name_authority: "name its file in `ca_file` of the store",
            verify_ca: "another `endpoint` of the store",
            disable: "an endpoint that begins with http://",
        };
        self.endpoint.remote(self.ca_file.clone(), settings)
    }

    /// The path of the bucket.
    pub(super) fn bucket_path(&self) -> String {
        format!("{}/{}", self.endpoint.path(), self.bucket)
    }

    /// The path of an object. A key has no character that a path would have to escape.
    pub(super) fn object_path(&self, key: &Key) -> String {
        format!("{}/{}{key}", self.bucket_path(), self.prefix_text())
    }

    /// What the keys of all objects begin with: nothing, or the prefix and a slash.
    pub(super) fn prefix_text(&self) -> String {
        self.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, prefix: Option<&str>) -> BucketPlace {
        BucketPlace {
            endpoint: Endpoint::https("s3.example.com", "/base"),
            bucket: bucket.to_owned(),
            prefix: prefix.map(|prefix| Key::new(prefix).unwrap()),
            region: "auto".to_owned(),
            access_key_id: "id".to_owned(),
            secret_access_key: "canary-4711".to_owned(),
            ca_file: None,
        }
    }

    #[test]
    fn the_secret_is_never_shown() {
        let place = place("dumps", Some("a/b"));
        assert_eq!(place.shown(), "s3://dumps/a/b at s3.example.com");
        assert!(!format!("{place:?}").contains("canary"));
        assert_eq!(place.object_path(&Key::new("x/y").unwrap()), "/base/dumps/a/b/x/y");
    }

    #[test]
    fn places_meet_where_one_is_below_the_other() {
        let check = |one: (&str, Option<&str>), other: (&str, Option<&str>), expect| {
            assert_eq!(place(one.0, one.1).overlaps(&place(other.0, other.1)), expect);
        };
        check(("dumps", None), ("dumps", Some("a")), true);
        check(("dumps", Some("a/b")), ("dumps", Some("a")), true);
        check(("dumps", Some("ab")), ("dumps", Some("a")), false);
        check(("dumps", Some("a")), ("other", Some("a")), false);
    }

    #[test]
    fn a_bucket_has_the_name_of_a_host() {
        for good in ["dumps", "my.dumps-1", "123"] {
            assert!(BucketPlace::is_bucket(good), "{good}");
        }
        for bad in ["", "ab", "A-Bucket", "a/b", "a..b", "-abc", ".abc", "a b", "a?b"] {
            assert!(!BucketPlace::is_bucket(bad), "{bad}");
        }
    }
}
