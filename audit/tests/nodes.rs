//! What entries say of the nodes that wrote them: gaps are faults, odd clocks are findings.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "each test file uses its own part")]
mod support;

use custodia_audit::bundle::*;
use custodia_audit::*;
use support::*;

/// What one node did.
enum Did {
    Start,
    Heartbeat(u64),
    Access(u64),
    Hidden(u64),
    At(i64),
}
use Did::*;

/// Writes a log of one node, verifies its export, and gives the findings or the refusal.
fn check(acts: &[Did]) -> Result<Vec<(u64, Observation)>, (Place, String)> {
    let mut log = Log::new(ORIGIN);
    let mut hidden = Vec::new();
    let (node, version) = ("n".to_owned(), "1".to_owned());
    let mut time_micros = 0_i64;
    let mut sequence = 0;
    for act in acts {
        time_micros = time_micros.saturating_add(10);
        let node = node.clone();
        match act {
            Start => log.control(Control::Start { node, time_micros, version: version.clone() }),
            Heartbeat(sequence) => log.control(Control::Heartbeat { node, time_micros, sequence: *sequence }),
            Access(number) | Hidden(number) => {
                if matches!(act, Hidden(_)) {
                    hidden.push(log.edge.size());
                }
                sequence = *number;
                log.access("n", *number, time_micros);
            }
            At(time) => {
                sequence += 1;
                time_micros = *time;
                log.access("n", sequence, time_micros);
            }
        }
    }
    let view = |index| if hidden.contains(&index) { View::Withheld } else { View::Opened };
    match log.verify(&log.export(0, log.edge.size(), view)) {
        Ok(report) => Ok(report.findings.into_iter().map(|finding| (finding.index, finding.what)).collect()),
        Err(fault) => Err((fault.place, fault.reason.to_string())),
    }
}

fn gap(index: u64, last: u64, found: u64) -> Result<Vec<(u64, Observation)>, (Place, String)> {
    Err((Place::Index(index), Reason::Sequence { node: "n".into(), last, found }.to_string()))
}

#[test]
fn sequence_numbers_without_a_gap_leave_no_finding() {
    assert_eq!(check(&[Start, Access(0), Access(1), Heartbeat(2), Access(2)]), Ok(vec![]));
    assert_eq!(check(&[Start, Access(0), Start, Access(0), Access(1)]), Ok(vec![]), "numbering begins anew");
    assert_eq!(check(&[Start, Access(0), Start, Access(1), Access(2)]), Ok(vec![]), "numbering goes on");
    assert_eq!(check(&[Access(0), Hidden(1), Hidden(2), Access(3)]), Ok(vec![]));
    assert_eq!(check(&[Hidden(0), Hidden(1), Access(2)]), Ok(vec![]));
    assert_eq!(check(&[Access(0), Start, Hidden(0), Access(1)]), Ok(vec![]));
    assert_eq!(check(&[Access(0), Hidden(1), Heartbeat(2), Access(2)]), Ok(vec![]));
}

#[test]
fn a_gap_that_nothing_withheld_explains_is_a_fault() {
    assert_eq!(check(&[Access(0), Access(2)]), gap(1, 0, 2));
    assert_eq!(check(&[Access(0), Hidden(1), Access(3)]), gap(2, 0, 3));
    assert_eq!(check(&[Access(0), Hidden(1), Access(2), Access(4)]), gap(3, 2, 4));
    assert_eq!(check(&[Access(0), Access(1), Access(1)]), gap(2, 1, 1));
    assert_eq!(check(&[Access(0), Access(1), Access(0)]), gap(2, 1, 0));
    assert_eq!(check(&[Access(0), Access(1), Start, Access(4)]), gap(3, 1, 4));
    assert_eq!(check(&[Access(5), Start, Access(0), Start, Access(2)]), gap(4, 0, 2));
}

#[test]
fn a_clock_that_runs_back_is_a_finding() {
    let back = |index, by_micros| (index, Observation::ClockBackwards { node: "n".into(), by_micros });
    assert_eq!(
        check(&[Access(0), At(100), At(100), At(99), At(200), At(50)]),
        Ok(vec![back(3, 1), back(5, 150)])
    );
    assert_eq!(check(&[Access(0), At(i64::MAX), At(i64::MIN)]), Ok(vec![back(2, u64::MAX)]));
}

#[test]
fn a_late_start_and_an_odd_heartbeat_are_findings() {
    let late = |index, sequence| (index, Observation::LateStart { node: "n".into(), sequence });
    assert_eq!(check(&[Access(3), Access(4)]), Ok(vec![late(0, 3)]));
    assert_eq!(check(&[Hidden(0), Access(2)]), Ok(vec![late(1, 2)]));
    let odd = |index, expected, found| (index, Observation::Heartbeat { node: "n".into(), expected, found });
    assert_eq!(check(&[Access(0), Heartbeat(3)]), Ok(vec![odd(1, 1, 3)]));
    assert_eq!(check(&[Access(0), Access(1), Heartbeat(1)]), Ok(vec![odd(2, 2, 1)]));
}

#[test]
fn entries_of_another_log_or_tenant_and_marks_of_the_log_are_findings() {
    let mut log = Log::new(ORIGIN);
    let mut stray = entry("audit.example/other", "n", 0, 0, 0);
    log.entry(&stray);
    stray.event.origin = ORIGIN.into();
    stray.event.sequence = 1;
    stray.subject.tenant = Some("other".into());
    log.entry(&stray);
    let (vkey, node) = (signer().vkey().to_string(), "n".to_owned());
    log.control(Control::KeyRotation { time_micros: 0, old_vkey: vkey.clone(), new_vkey: vkey });
    log.control(Control::Restore {
        node,
        time_micros: 0,
        restored_size: 1,
        anchored_size: 2,
        anchored_root: [0; 32],
    });

    let note = signer().sign_checkpoint(&log.checkpoint()).unwrap();
    let header = Header { tenant: Some("clinic".into()), ..log.header(0, 4) };
    let mut writer = Writer::begin(Vec::new(), header, &note, log.edge.clone(), None).unwrap();
    (0..4).for_each(|index| writer.entry(&log.record(index, View::Opened)).unwrap());
    let report = log.verify(&writer.finish(&signer()).unwrap()).unwrap();
    let what: Vec<_> = report.findings.iter().map(|finding| (finding.index, &finding.what)).collect();
    use Observation::{KeyRotated, OtherOrigin, OtherTenant, Restored};
    assert_eq!(what, [(0, &OtherOrigin), (1, &OtherTenant), (2, &KeyRotated), (3, &Restored)]);
}

#[test]
fn findings_and_nodes_are_bounded() {
    let mut log = Log::new(ORIGIN);
    let count = FINDINGS_MAX + 5;
    (0..count)
        .for_each(|number| log.access("n", u64::try_from(number).unwrap(), -i64::try_from(number).unwrap()));
    let report = log.verify(&log.export(0, log.edge.size(), |_| View::Opened)).unwrap();
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert_eq!(report.findings_total, u64::try_from(count).unwrap() - 1);

    let mut log = Log::new(ORIGIN);
    for number in 0..=NODES_MAX {
        log.control(Control::Start { node: number.to_string(), time_micros: 0, version: String::new() });
    }
    let size = log.edge.size();
    log.verify(&log.export(0, size - 1, |_| View::Opened)).unwrap();
    let fault = log.verify(&log.export(0, size, |_| View::Opened)).unwrap_err();
    assert!(matches!((fault.place, fault.reason), (Place::Index(65_536), Reason::TooManyNodes)));
}
