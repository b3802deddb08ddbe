//! The marks of composite parameters: one for each way in which a part meets all components, and one of its first.
//!
//! A range of values is many marks and a code is one: whoever goes from record to record looks for the code first.
//!
//! May import only std, `serde_json` and what stands beside it in `fhir`.

use serde_json::Value;

use super::super::reference::BaseUrl;
use super::compiler::Start;
use super::index::Part;
use super::mark::{Mark, of_term, of_value};
use super::term::{Modifier, Term};

/// The most marks of one part; a part with more bears [`EVERYTHING`] in their place.
const JOINT_MAX: usize = 256;
/// The mark of a part that has too many: every search asks for it as well.
const EVERYTHING: Mark<'static> = Mark::Joint(Vec::new());

/// The marks of a record's parts.
pub(super) fn of_parts<'a>(
    parts: &[Part],
    resource: &'a Value,
    base: &BaseUrl,
    visit: &mut dyn FnMut(Mark<'a>),
) {
    for part in parts {
        Start::visit(&part.context, resource, &mut |element| {
            let components = part.components.iter().map(|component| {
                let root = if component.from_resource { resource } else { element };
                let mut marks = Vec::new();
                for path in &component.paths {
                    path.visit(root, &mut |value| {
                        // One more than can be used says that there are too many.
                        if marks.len() <= JOINT_MAX {
                            of_value((component.kind, &component.paths), path, value, base, &mut |mark| {
                                marks.push(mark);
                            });
                        }
                    });
                }
                marks
            });
            let components: Vec<Vec<Mark<'a>>> = components.collect();
            let first = components.first().cloned().unwrap_or_default();
            match product(components, JOINT_MAX) {
                Some(marks) if marks.is_empty() => {}
                Some(marks) => {
                    first.into_iter().map(|mark| Mark::Joint(vec![mark])).chain(marks).for_each(&mut *visit)
                }
                None => visit(EVERYTHING),
            }
        });
    }
}

/// The marks of which a part bears one if it meets the terms; `None` if one of them has none, or they are too many.
pub(super) fn of_terms(parts: &[Part], terms: &[Term], most: usize) -> Option<Vec<Mark<'static>>> {
    let mut marks = vec![EVERYTHING];
    for part in parts {
        let components =
            part.components.iter().zip(terms).map(|(component, term)| {
                of_term((component.kind, &component.paths), &[], Modifier::None, term)
            });
        marks.extend(product(components.collect::<Option<_>>()?, most)?);
    }
    marks.dedup();
    Some(marks)
}

/// The marks of first components of which a part bears one if it meets the terms; `None` as with [`of_terms`].
pub(super) fn of_first_terms(parts: &[Part], terms: &[Term]) -> Option<Vec<Mark<'static>>> {
    let mut marks = vec![EVERYTHING];
    for part in parts {
        let (component, term) = part.components.iter().zip(terms).next()?;
        let of_first = of_term((component.kind, &component.paths), &[], Modifier::None, term)?;
        marks.extend(of_first.into_iter().map(|mark| Mark::Joint(vec![mark])));
    }
    marks.dedup();
    Some(marks)
}

/// One of each, in every combination; `None` if those are more than `most`.
fn product<'a>(components: Vec<Vec<Mark<'a>>>, most: usize) -> Option<Vec<Mark<'a>>> {
    let size = components.iter().try_fold(1_usize, |size, marks| size.checked_mul(marks.len()))?;
    if size > most {
        return None;
    }
    let mut joint: Vec<Vec<Mark<'a>>> = vec![Vec::new()];
    for marks in components {
        joint = joint
            .iter()
            .flat_map(|so_far| {
                marks.iter().map(|mark| [so_far.as_slice(), std::slice::from_ref(mark)].concat())
            })
            .collect();
    }
    Some(joint.into_iter().map(Mark::Joint).collect())
}
