//! What of an operation's question is not known here, and could be asked elsewhere.

use super::answer::{Asked, CODINGS_MAX, Operation};
use super::{Membership, NotExpanded, Question, Vocabulary, once};

impl Asked {
    /// What another server could be asked, because it is not known here; nothing if all is known or nothing can be asked.
    #[must_use]
    pub fn questions(&self, vocabulary: &Vocabulary<'_>, operation: Operation, kind: &str) -> Vec<Question> {
        let codes = self.codes().unwrap_or_default();
        let of = |system: Option<&str>| {
            let system = system.or_else(|| self.get("url").filter(|_| kind == "CodeSystem"))?;
            let version = self.get("version").filter(|_| operation == Operation::Lookup);
            let version = version.filter(|_| !system.contains('|'));
            Some(version.map_or_else(|| system.to_owned(), |version| format!("{system}|{version}")))
        };
        let coded = codes.iter().filter_map(|(system, code)| Some((of(*system)?, *code)));
        let mut found: Vec<Question> = match (operation, kind) {
            (Operation::Lookup, _) => {
                let open = coded.take(1).filter(|(system, code)| vocabulary.has(system, code).is_none());
                open.map(|(system, code)| Question::Meaning(system.into(), code.into())).collect()
            }
            (Operation::ValidateCode, "CodeSystem") => {
                let open = coded.filter(|(system, code)| vocabulary.has(system, code).is_none());
                open.map(|(system, code)| Question::Code(system.into(), code.into())).collect()
            }
            (Operation::ValidateCode, _) => {
                let set = self.set_url();
                let open = coded.filter(|(system, code)| {
                    vocabulary.contains(&set, Some(system), code) == Membership::Unknown
                });
                open.map(|(system, code)| Question::Member(set.clone().into(), system.into(), code.into()))
                    .collect()
            }
            (Operation::Expand, _) => {
                let known = vocabulary.set(&self.set_url()).map(|set| vocabulary.expand(set));
                let open = matches!(known, None | Some(Err(NotExpanded::Unknown(_))));
                open.then(|| Question::Codes(self.set_url().into())).into_iter().collect()
            }
            (Operation::Translate, _) => self.open_translations(vocabulary, &codes),
        };
        once(&mut found);
        found.truncate(CODINGS_MAX);
        found
    }

    /// Codes that no map here translates, unless the map is here that is asked for.
    fn open_translations(
        &self,
        vocabulary: &Vocabulary<'_>,
        codes: &[(Option<&str>, &str)],
    ) -> Vec<Question> {
        let map = self.get("url");
        // Which sets a translation lies between is not asked elsewhere: systems and maps are.
        if ["source", "target"].iter().any(|name| self.get(name).is_some())
            || map.is_some_and(|url| vocabulary.maps().any(|map| *map.url == *url))
        {
            return Vec::new();
        }
        let into = self.get("targetsystem");
        let open =
            codes.iter().filter_map(|(system, code)| Some(((*system)?, *code))).filter(|(system, code)| {
                map.is_some() || vocabulary.translate(system, code, |_| true).is_empty()
            });
        let ask = |(system, code): (&str, &str)| Question::Translation {
            system: system.into(),
            code: code.into(),
            map: map.map(Into::into),
            into: into.map(Into::into),
        };
        open.map(ask).collect()
    }
}
