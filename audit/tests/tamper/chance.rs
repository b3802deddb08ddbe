//! Cases made by chance, of a fixed sequence: damaged exports, and histories of nodes.

use custodia_audit::*;

use super::cases::{Case, Said, case, mixed};
use super::support::*;

/// Small steps of a fixed sequence: the same cases in every run.
struct Steps(u64);

impl Steps {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// Sound exports with one byte changed, removed or added, or one part changed and the manifest signed anew.
pub(crate) fn damaged(count: usize) -> Vec<Case> {
    let mut steps = Steps(20_260_101);
    let bundles = [Log::of(9).export_from(3, 9, Some(5), mixed), Log::of(300).export(250, 262, mixed)];
    let damage = |number: usize| {
        let bundle = &bundles[number % 2];
        let mut bytes = bundle.clone();
        let at = steps.below(bytes.len());
        match number % 5 {
            0 => bytes[at] ^= 1 << steps.below(8),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, u8::try_from(steps.below(256)).unwrap()),
            3 => bytes.truncate(at),
            _ => {
                let mut frames = Frames::of(bundle);
                let last = frames.0.len() - 1;
                let frame = &mut frames.0[steps.below(last)];
                let at = steps.below(frame.1.len());
                frame.1[at] ^= 1 << steps.below(8);
                bytes = frames.resealed();
            }
        }
        let mut case = case(&format!("damage {number}"), bytes, Said::Anything);
        case.earlier =
            number.is_multiple_of(2).then(|| signer().sign_checkpoint(&Log::of(5).checkpoint()).unwrap());
        case
    };
    (0..count).map(damage).collect()
}

/// Logs of nodes that start, count, skip, repeat and beat as it comes, shown in part.
pub(crate) fn histories(count: usize) -> Vec<Case> {
    let mut steps = Steps(20_270_202);
    let history = |number: usize| {
        let mut log = Log::new(ORIGIN);
        let mut next = [0_u64; 2];
        for at in 0..(4 + steps.below(12)) {
            let which = steps.below(2);
            let node = ["a", "b"][which];
            let time_micros = i64::try_from(10 * at).unwrap() - i64::from(steps.below(6) == 0) * 25;
            match steps.below(8) {
                0 => {
                    let (node, version) = (node.into(), "1".into());
                    log.control(Control::Start { node, time_micros, version });
                    next[which] *= u64::from(steps.below(2) == 0);
                }
                1 => {
                    let sequence = next[which] + u64::from(steps.below(4) == 0);
                    log.control(Control::Heartbeat { node: node.into(), time_micros, sequence });
                }
                _ => {
                    // One in ten skips a number or goes back by one.
                    let sequence = match steps.below(20) {
                        0 => next[which] + 1,
                        1 => next[which].saturating_sub(1),
                        _ => next[which],
                    };
                    log.access(node, sequence, time_micros);
                    next[which] = sequence + 1;
                }
            }
        }
        let hide = steps.below(3);
        let first = u64::try_from(steps.below(3)).unwrap();
        let view = |index: u64| if hide > 0 && index % 3 == 1 { View::Withheld } else { View::Opened };
        case(&format!("history {number}"), log.export(first, log.edge.size(), view), Said::Anything)
    };
    (0..count).map(history).collect()
}
