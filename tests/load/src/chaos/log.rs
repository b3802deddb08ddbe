//! Looks for every receipt in the log: its proof, the log's leaves, and the export an auditor would get.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use custodia_audit::{
    Checkpoint, Edge, ProofFile, Vkey,
    bundle::{self, Trust, VerifiedBody, VerifiedEntry},
    leaf_hash,
};
use tokio::task::JoinSet;

use super::{
    CHECKERS,
    account::{Receipt, Touched},
};
use crate::{
    caller::Caller,
    client::{Call, Keep},
    deck::uri,
    fault::Fault,
    floor,
    server::Server,
};

/// How many leaves are asked for at a time.
const LEAVES_AT_A_TIME: i64 = 20_000;
/// How often a proof is asked for before it counts as refused.
const PROOF_TRIES: u32 = 5;

/// Who asks for proofs, and the key it trusts.
#[derive(Clone)]
pub(super) struct Auditor {
    caller: Caller,
    vkey: Vkey,
}

impl Auditor {
    /// An auditor who trusts `vkey` alone.
    pub(super) const fn new(caller: Caller, vkey: Vkey) -> Self {
        Self { caller, vkey }
    }

    /// The log's name.
    pub(super) fn origin(&self) -> &str {
        self.vkey.name()
    }

    /// The log's key.
    pub(super) const fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    /// The proof of one entry, not verified yet, or why there is none.
    async fn proof(&mut self, index: u64) -> Result<ProofFile, String> {
        let uri = uri(&format!("/audit/entries/{index}/proof")).map_err(|fault| fault.to_string())?;
        let mut why = String::new();
        for _ in 0..PROOF_TRIES {
            match self.caller.send(Call::get(uri.clone()), Keep::Body).await {
                Ok(reply) if reply.status == 200 => {
                    let file =
                        ProofFile::parse(&reply.body).map_err(|fault| format!("its proof: {fault}"))?;
                    return if file.index == index {
                        Ok(file)
                    } else {
                        Err("its proof is another's".to_owned())
                    };
                }
                Ok(reply) if reply.status.as_u16() >= 500 => why = format!("its proof: {}", reply.status),
                Ok(reply) => return Err(format!("its proof: {}", reply.status)),
                Err(none) => why = format!("its proof: no answer ({})", none.why),
            }
        }
        Err(why)
    }

    /// A signed checkpoint of a tree that holds entry `index`.
    pub(super) async fn checkpoint_over(mut self, index: u64) -> Result<Checkpoint, String> {
        let file = self.proof(index).await?;
        let keys = std::slice::from_ref(&self.vkey);
        let opened = Checkpoint::open(file.checkpoint.as_bytes(), self.vkey.name(), keys, 0);
        let checkpoint = opened.map_err(|fault| fault.to_string())?;
        if checkpoint.size > index { Ok(checkpoint) } else { Err("the log ends before it".to_owned()) }
    }
}

/// The leaves of the log as the database has them. Nothing here is believed: proofs and roots judge it.
pub(super) async fn leaves(url: &str, origin: &str) -> Result<Vec<Vec<u8>>, Fault> {
    let client = floor::connect(url).await?;
    let ask = "SELECT e.index, e.leaf FROM ledger_entry e JOIN ledger_head h ON h.shard = e.shard
               WHERE h.origin = $1 AND e.index >= $2 ORDER BY e.index LIMIT $3";
    let ask = client.prepare(ask).await?;
    let mut leaves = Vec::<Vec<u8>>::new();
    loop {
        let next = i64::try_from(leaves.len()).unwrap_or(i64::MAX);
        let rows = client.query(&ask, &[&origin, &next, &LEAVES_AT_A_TIME]).await?;
        if rows.is_empty() {
            return Ok(leaves);
        }
        for row in rows {
            let index: i64 = row.try_get(0)?;
            if usize::try_from(index).ok() != Some(leaves.len()) {
                return Err(Fault::refused(format!("the log has no entry {}", leaves.len())));
            }
            leaves.push(row.try_get(1)?);
        }
    }
}

/// Every checkpoint that was once shown must be of a prefix of this log.
pub(super) fn check_checkpoints(leaves: &[Vec<u8>], checkpoints: &[Checkpoint]) -> Vec<String> {
    let mut kept: Vec<_> = checkpoints.iter().collect();
    kept.sort_unstable_by_key(|checkpoint| checkpoint.size);
    let mut kept = kept.into_iter().peekable();
    let (mut edge, mut violations) = (Edge::empty(), Vec::new());
    for (size, leaf) in (1_u64..).zip(leaves) {
        drop(edge.append(leaf_hash(leaf)));
        while let Some(checkpoint) = kept.next_if(|checkpoint| checkpoint.size == size) {
            if checkpoint.root != edge.root() {
                violations.push(format!("the checkpoint of size {size} was of another log"));
            }
        }
    }
    violations.extend(kept.map(|beyond| format!("the log lost what was under size {}", beyond.size)));
    violations
}

/// What the proofs came to.
#[derive(Default)]
pub(super) struct Proofs {
    /// How many entries were proven.
    pub(super) proofs: usize,
    /// How many leaves the log had.
    pub(super) leaves: usize,
    /// Receipts without a valid proof.
    pub(super) violations: Vec<String>,
}

/// Asks for the proof of each entry and verifies it.
pub(super) async fn check_proofs(
    auditor: &Auditor,
    indexes: Vec<u64>,
    leaves: &Arc<Vec<Vec<u8>>>,
) -> Result<Proofs, Fault> {
    let mut tasks = JoinSet::new();
    for chunk in indexes.chunks(indexes.len().div_ceil(CHECKERS).max(1)) {
        tasks.spawn(check_some(auditor.clone(), chunk.to_vec(), Arc::clone(leaves)));
    }
    let mut found = Proofs { leaves: leaves.len(), ..Proofs::default() };
    while let Some(ended) = tasks.join_next().await {
        let some = ended.map_err(|_| Fault::refused("a checker failed"))?;
        found.proofs += some.proofs;
        found.violations.extend(some.violations);
    }
    Ok(found)
}

async fn check_some(mut auditor: Auditor, indexes: Vec<u64>, leaves: Arc<Vec<Vec<u8>>>) -> Proofs {
    let mut found = Proofs::default();
    for index in indexes {
        match check_proof(&mut auditor, index, &leaves).await {
            Ok(()) => found.proofs += 1,
            Err(why) => found.violations.push(format!("entry {index}: {why}")),
        }
    }
    found
}

async fn check_proof(auditor: &mut Auditor, index: u64, leaves: &[Vec<u8>]) -> Result<(), String> {
    let place = usize::try_from(index).map_err(|_| "beyond this machine")?;
    let leaf = leaves.get(place).ok_or("a receipt was given, but it is not in the log")?;
    let file = auditor.proof(index).await?;
    let keys = std::slice::from_ref(&auditor.vkey);
    let verified = file.verify(leaf, auditor.vkey.name(), keys, 0);
    verified.map(|_| ()).map_err(|fault| fault.to_string())
}

/// What exporting came to.
pub(super) struct Export {
    /// The file, if it was written.
    pub(super) file: Option<PathBuf>,
    /// What the programs refused.
    pub(super) violations: Vec<String>,
}

/// Runs `custodia audit export`, then `custodia-verify` on what it wrote.
///
/// A server that keeps its home to itself while it runs is stopped for the export.
pub(super) fn export(server: &mut Server, verifier: Option<&Path>, vkey: &Vkey) -> Result<Export, Fault> {
    // No export is written over: a home that is kept has those of earlier runs.
    let file = server.home().join(format!("chaos-{}.export", std::process::id()));
    let mut command = Command::new(server.binary());
    command.args(["audit", "export", "--home"]).arg(server.home()).arg("--out").arg(&file);
    let mut violation = run("custodia audit export", &mut command, server.binary())?;
    if violation.is_some() {
        server.stop();
        violation = run("custodia audit export", &mut command, server.binary())?;
    }
    if let Some(violation) = violation {
        return Ok(Export { file: None, violations: vec![violation] });
    }
    let beside = server.binary().with_file_name("custodia-verify");
    let verifier = verifier.unwrap_or(&beside);
    let mut command = Command::new(verifier);
    command.arg("--vkey").arg(vkey.to_string()).arg(&file);
    let violations = run("custodia-verify", &mut command, verifier)?.into_iter().collect();
    Ok(Export { file: Some(file), violations })
}

/// Runs a program to its end; gives what went wrong with it, if anything did.
fn run(name: &str, command: &mut Command, program: &Path) -> Result<Option<String>, Fault> {
    let ended = command.output().map_err(Fault::io("run", program))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().next_back().unwrap_or("it said nothing");
    Ok((!ended.status.success()).then(|| format!("{name} ended with {}: {said}", ended.status)))
}

/// What the export shows of the receipts.
#[derive(Default)]
pub(super) struct Shown {
    /// How many receipts' entries were opened and name what was released or written.
    pub(super) shown: usize,
    /// Entries that are missing, closed or about something else.
    pub(super) violations: Vec<String>,
}

/// Verifies the export once more, and holds each receipt against its entry.
pub(super) fn check_export(file: &Path, vkey: &Vkey, receipts: &[Receipt]) -> Result<Shown, Fault> {
    let mut wanted = HashMap::<u64, Vec<&Receipt>>::new();
    for receipt in receipts {
        wanted.entry(receipt.index).or_default().push(receipt);
    }
    let mut shown = Shown::default();
    let input = File::open(file).map_err(Fault::io("open", file))?;
    let trust = Trust::of_log(vkey, None);
    let sink = |entry: VerifiedEntry| {
        for receipt in wanted.remove(&entry.index).into_iter().flatten() {
            match mismatch(&entry, receipt) {
                None => shown.shown += 1,
                Some(why) => shown.violations.push(format!("entry {}: {why}", entry.index)),
            }
        }
    };
    if let Err(fault) = bundle::verify(input, &trust, sink) {
        shown.violations.push(format!("the export is refused: {fault}"));
    }
    let missing = wanted.into_keys().map(|index| format!("entry {index} is not in the export"));
    shown.violations.extend(missing);
    Ok(shown)
}

/// How an entry fails to be about the answer that carried its receipt.
fn mismatch(entry: &VerifiedEntry, receipt: &Receipt) -> Option<String> {
    let VerifiedBody::Opened(opened) = &entry.body else { return Some("it is not shown".to_owned()) };
    let (Some(event), Some(object)) = (&opened.event, &opened.object) else {
        return Some("what it is about is not shown".to_owned());
    };
    if receipt.status != 0 && event.outcome.status != receipt.status {
        return Some(format!("it says {}, the answer said {}", event.outcome.status, receipt.status));
    }
    let names = |touched: &Touched| {
        let is_it = |item: &custodia_audit::Item| {
            item.kind == "Observation" && item.id == touched.id && item.version == touched.version
        };
        object.items.iter().any(is_it)
    };
    let missing = receipt.touched.iter().find(|touched| !names(touched))?;
    Some(format!("it does not name Observation/{} version {}", missing.id, missing.version))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use custodia_audit::{Action, Decision, Event, Hash, Item, Kind, Object, Outcome, bundle::Opened};

    use super::*;

    fn log(length: u8) -> Vec<Vec<u8>> {
        (0..length).map(|byte| vec![byte; 33]).collect()
    }

    fn checkpoint(leaves: &[Vec<u8>]) -> Checkpoint {
        let mut edge = Edge::empty();
        leaves.iter().for_each(|leaf| drop(edge.append(leaf_hash(leaf))));
        let size = u64::try_from(leaves.len()).unwrap();
        Checkpoint { origin: "clinic".to_owned(), size, root: edge.root() }
    }

    #[test]
    fn checkpoints_of_a_prefix_hold_and_others_are_told() {
        let leaves = log(9);
        let kept = [7, 3, 9, 3].map(|size| checkpoint(leaves.get(..size).unwrap()));
        assert_eq!(check_checkpoints(&leaves, &kept), Vec::<String>::new());
        let forked = Checkpoint { root: Hash([1; 32]), ..checkpoint(leaves.get(..5).unwrap()) };
        assert_eq!(check_checkpoints(&leaves, &[forked]), ["the checkpoint of size 5 was of another log"]);
        let rolled_back = checkpoint(&log(10));
        assert_eq!(check_checkpoints(&leaves, &[rolled_back]), ["the log lost what was under size 10"]);
    }

    fn opened(status: u16, ids: &[&str]) -> VerifiedEntry {
        let outcome = Outcome { status, code: "ok".to_owned() };
        let event = Event {
            origin: "clinic".to_owned(),
            kind: Kind::Access,
            time_micros: 0,
            node: "n".to_owned(),
            sequence: 0,
            request: [0; 16],
            outcome,
        };
        let item = |id: &&str| Item {
            kind: "Observation".to_owned(),
            id: (*id).to_owned(),
            version: 2,
            digest: [0; 32],
            action: Action::Released,
        };
        let object = Object {
            interaction: "read".to_owned(),
            items: ids.iter().map(item).collect(),
            policy_set: None,
            policies: Vec::new(),
            decision: Decision::Permit,
        };
        let opened =
            Opened { event: Some(event), actor: None, subject: None, object: Some(object), detail: None };
        VerifiedEntry { index: 4, body: VerifiedBody::Opened(Box::new(opened)) }
    }

    #[test]
    fn an_entry_must_name_the_status_and_each_version_of_its_answer() {
        let touched = |version| vec![Touched { id: "a".to_owned(), version }];
        let receipt = |status, touched| Receipt { index: 4, status, touched };
        for (entry, receipt, is_right) in [
            (opened(200, &["b", "a"]), receipt(200, touched(2)), true),
            (opened(200, &["b"]), receipt(200, touched(2)), false),
            (opened(200, &["a"]), receipt(200, touched(3)), false),
            (opened(403, &[]), receipt(200, Vec::new()), false),
            (opened(403, &[]), receipt(0, Vec::new()), true),
        ] {
            assert_eq!(mismatch(&entry, &receipt).is_none(), is_right, "{receipt:?}");
        }
        let closed = VerifiedEntry { index: 4, body: VerifiedBody::Withheld([0; 32]) };
        assert!(mismatch(&closed, &receipt(200, Vec::new())).is_some());
    }
}
