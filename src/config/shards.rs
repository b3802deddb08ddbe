//! The logs that are written side by side (decision 0035): what each is called, and where its copies lie.
//!
//! May import its siblings.

use std::path::PathBuf;

use super::Config;

/// The most logs that are written side by side.
pub const SHARDS_MAX: i16 = 16;

/// What the first log alone has: the others stand under it.
fn below(shard: i16) -> String {
    format!("shard-{shard}")
}

impl Config {
    /// The names of the logs, the first being that of the configuration: `records.example/log`, `records.example/log/1`.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        (0..self.ledger.shards).map(|shard| origin_of(self.origin(), shard))
    }

    /// The configuration as one of the logs sees it: with its own name, head and copies.
    #[must_use]
    pub fn of_shard(&self, shard: i16) -> Self {
        let mut config = self.clone();
        if shard > 0 {
            config.ledger.origin = Some(origin_of(self.origin(), shard));
            config.ledger.shard = self.ledger.shard.saturating_add(shard);
            config.ledger.mirror = self.ledger.mirror.as_ref().map(|folder| folder.join(below(shard)));
            let prefix = &self.bucket.prefix;
            let slash = if prefix.is_empty() { "" } else { "/" };
            config.bucket.prefix = format!("{prefix}{slash}{}", below(shard));
        }
        config
    }

    /// The folder of the feed's position in one of the logs.
    #[must_use]
    pub fn feed_folder_of(&self, shard: i16) -> PathBuf {
        if shard == 0 { self.feed_folder() } else { self.feed_folder().join(below(shard)) }
    }
}

/// The name of one of the logs that are written side by side.
#[must_use]
pub fn origin_of(origin: &str, shard: i16) -> String {
    match shard {
        0 => origin.to_owned(),
        shard => format!("{origin}/{shard}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_log_has_a_name_a_head_and_copies_of_its_own() {
        let mut config = Config::default();
        config.ledger.origin = Some("records.test/log".to_owned());
        config.ledger.mirror = Some("mirror".into());
        (config.ledger.shard, config.ledger.shards) = (3, 3);
        let names: Vec<String> = config.origins().collect();
        assert_eq!(names, ["records.test/log", "records.test/log/1", "records.test/log/2"]);
        let (first, last) = (config.of_shard(0), config.of_shard(2));
        assert_eq!((first.origin(), first.ledger.shard), ("records.test/log", 3));
        assert_eq!(
            (first.ledger.mirror.as_deref(), first.bucket.prefix.as_str()),
            (Some(Path::new("mirror")), "")
        );
        assert_eq!((last.origin(), last.ledger.shard), ("records.test/log/2", 5));
        assert_eq!(last.ledger.mirror.as_deref(), Some(Path::new("mirror/shard-2")));
        assert_eq!(last.bucket.prefix, "shard-2");
        config.bucket.prefix = "clinic".to_owned();
        assert_eq!(config.of_shard(1).bucket.prefix, "clinic/shard-1");
        assert_ne!(config.feed_folder_of(1), config.feed_folder());
    }
}
