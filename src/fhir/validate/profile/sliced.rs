//! Of which slice an item is, and how many a slice may have.

use super::super::super::fhirpath::{Reached, Scene, Spot};
use super::super::super::outcome::IssueCode;
use super::super::super::terminology::Membership;
use super::super::report::Place;
use super::check::{Judge, codes_of, fits};
use super::{Depth, Profile, Profiles, Slice, Slicing, Test};

/// How many items are of a slice.
#[derive(Clone, Copy, Default)]
struct Count {
    surely: usize,
    /// Of which it cannot be told.
    perhaps: usize,
}

impl<'p, 'v> Judge<'p, 'v>
where
    'p: 'v,
{
    pub(super) fn slices(&mut self, slicing: &'p Slicing, spots: &[Spot<'v>], at: &Place<'_>, listed: bool) {
        let mut counts = vec![Count::default(); slicing.slices.len()];
        let open = !slicing.closed || slicing.slices.iter().any(|slice| slice.tests.is_none());
        for (index, spot) in spots.iter().enumerate() {
            let item = at.item(index);
            let place = if listed { &item } else { at };
            let mut of = None;
            let mut perhaps = false;
            for (slice, count) in slicing.slices.iter().zip(&mut counts) {
                match self.is_of(slice, *spot) {
                    Some(true) => {
                        count.surely += 1;
                        of = Some(slice);
                        break;
                    }
                    Some(false) => {}
                    None => {
                        count.perhaps += 1;
                        perhaps = true;
                    }
                }
            }
            match of {
                Some(slice) => self.value(&slice.node, *spot, place),
                None if open || perhaps => {}
                None => self.say(
                    place,
                    IssueCode::Structure,
                    "profile.closed",
                    "it is of no slice, and only slices may be there",
                ),
            }
        }
        for (slice, count) in slicing.slices.iter().zip(counts) {
            if slice.tests.is_some() {
                let rules = &slice.node.rules;
                // What is there at the least is held to the most; what may be there to the least.
                let number = if count.surely < rules.min {
                    rules.min.min(count.surely + count.perhaps)
                } else {
                    count.surely
                };
                self.count(at, number, rules, Some(&slice.name));
            }
        }
    }

    /// Whether all that is true of the items of a slice is true of this one; `None` if that cannot be told.
    fn is_of(&mut self, slice: &'p Slice, spot: Spot<'v>) -> Option<bool> {
        let Some(tests) = &slice.tests else { return Some(false) };
        let mut whole = Some(true);
        for test in tests {
            match self.meets(test, spot) {
                Some(true) => {}
                Some(false) => return Some(false),
                None => whole = None,
            }
        }
        whole
    }

    fn meets(&mut self, test: &'p Test, spot: Spot<'v>) -> Option<bool> {
        Some(match test {
            Test::Type(codes) => codes.iter().any(|code| spot.is(code)),
            Test::Exists(path, wanted) => {
                path.places(&self.scene, spot).is_some_and(|places| places.is_empty() != *wanted)
            }
            Test::Value(path, expected) => {
                let places = path.places(&self.scene, spot).unwrap_or_default();
                places.into_iter().any(|place| fits(expected, place))
            }
            Test::InSet(path, set) => {
                let places = path.places(&self.scene, spot).unwrap_or_default();
                places
                    .into_iter()
                    .flat_map(codes_of)
                    .any(|(system, code)| self.membership(set, system, code) == Membership::In)
            }
            Test::Conforms(path, urls, depth) => {
                // A reference that names no type, or a logical one, leads nowhere that can be seen.
                let reached = path.reached(&self.scene, spot).filter(|reached| !reached.is_empty())?;
                let mut any = Some(false);
                for one in reached {
                    match self.is_one_of(urls, *depth, one) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => any = None,
                    }
                }
                return any;
            }
        })
    }

    /// Whether what was reached is of one of these types, or conforms to one of these profiles.
    fn is_one_of(&mut self, urls: &'p [Box<str>], depth: Depth, reached: Reached<'v>) -> Option<bool> {
        let profiles: &'p Profiles = self.bench.profiles;
        let mut any = Some(false);
        for url in urls {
            let Some(kind) = profiles.kind_of(url) else {
                any = None;
                continue;
            };
            let (is_kind, spot) = match reached {
                Reached::Here(spot) => (spot.is(kind), Some(spot)),
                Reached::Elsewhere(there) => (there.name() == kind || kind == "Resource", None),
            };
            if !is_kind {
                continue;
            }
            match (profiles.get(url).filter(|_| depth == Depth::Profile), spot) {
                (None, _) => return Some(true),
                (Some(profile), Some(spot)) if self.conforms(profile, spot) => return Some(true),
                (Some(_), Some(_)) => {}
                (Some(_), None) => any = None,
            }
        }
        any
    }

    /// Whether what stands at a place conforms to a profile. Nothing of it is reported.
    fn conforms(&mut self, profile: &'p Profile, spot: Spot<'v>) -> bool {
        let (of, scene, held) = (self.of, self.scene, std::mem::take(&mut self.report));
        if spot.object().is_some_and(|object| object.contains_key("resourceType")) {
            self.scene = Scene { resource: spot, root: spot, ..scene };
        }
        self.of = profile;
        self.value(&profile.root, spot, &Place::Root(spot.type_name()));
        (self.of, self.scene) = (of, scene);
        let found = std::mem::replace(&mut self.report, held);
        !found.refuses()
    }
}
