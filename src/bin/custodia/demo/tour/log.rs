//! What an auditor can prove: a checkpoint, the proof of one entry, and an export that is verified offline.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use custodia_audit::{
    Checkpoint, Policy, ProofFile,
    bundle::{self, Trust, VerifiedBody, VerifiedEntry},
};
use tokio::process::Command;

use super::{Cast, Held, Place, Tour, TourError, held, is_outcome};
use crate::demo::{
    home::write,
    people::{CHART, TENANT},
};

pub(super) async fn run(tour: &mut Tour, cast: &Cast, place: &Place<'_>, seen: u64) -> Result<(), TourError> {
    let refused = cast.physician.get("/audit/checkpoint").await?;
    tour.answer("the log is not for physicians", &refused, 403, is_outcome(&refused, "forbidden"))?;
    let reply = cast.auditor.get("/audit/checkpoint").await?;
    let keys = [place.vkey.clone()];
    let checkpoint = Checkpoint::open(&reply.body, place.origin, &keys, 0);
    let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    let signed = checkpoint.as_ref().map(|_| ()).map_err(ToString::to_string);
    let text = format!("the auditor takes the signed checkpoint: {size} entries");
    tour.answer(&text, &reply, 200, signed)?;
    let earlier = checkpoint.map_err(|_| TourError::Missing("there is no checkpoint"))?;
    proof(tour, cast, place, seen).await?;

    let folder = place.home.folder();
    let (kept, file) = (folder.join("tour-checkpoint"), folder.join("tour-export"));
    remove(&file)?;
    write(&kept, &reply.body)?;
    let exported = export(folder, &file, &kept).await?;
    tour.fact("`custodia audit export` writes the whole log into a file", &exported.0, exported.1)?;
    let policy = Policy::of_keys(&keys, 0);
    let trust = Trust { origin: place.origin.to_owned(), policy, earlier: Some(earlier) };
    judge(tour, place, &file, &kept, &trust, seen).await
}

/// The physician's first read, by its receipt.
async fn proof(tour: &mut Tour, cast: &Cast, place: &Place<'_>, seen: u64) -> Result<(), TourError> {
    let entry = cast.auditor.get(&format!("/audit/entries/{seen}")).await?;
    let text = format!("entry {seen}, the physician's first read: a commitment, no names");
    tour.answer(&text, &entry, 200, held(entry.body.len() == 33, "it is not 33 bytes"))?;
    let reply = cast.auditor.get(&format!("/audit/entries/{seen}/proof")).await?;
    let keys = [place.vkey.clone()];
    let proven = |entry: &[u8]| -> Held {
        let proof = ProofFile::parse(&reply.body).map_err(|fault| fault.to_string())?;
        proof.verify(entry, place.origin, &keys, 0).map_err(|fault| fault.to_string())?;
        held(proof.index == seen, "it is the proof of another entry")
    };
    tour.answer("its .tlog-proof, verified in this process", &reply, 200, proven(&entry.body))?;
    let mut other = entry.body.clone();
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    let refused = proven(&other).is_err();
    tour.fact(
        "with one bit of the entry flipped it proves nothing",
        "refused",
        held(refused, "it still does"),
    )?;
    Ok(())
}

/// Runs this very program's command, as an administrator would.
async fn export(folder: &Path, file: &Path, earlier: &Path) -> Result<(String, Held), TourError> {
    let program = std::env::current_exe().map_err(|error| TourError::File("custodia".into(), error))?;
    let mut command = Command::new(program);
    // Neither a DATABASE_URL nor a configuration of somebody else's is meant.
    command.env_clear().current_dir(folder).arg("--home").arg(folder).args(["audit", "export", "--out"]);
    command.arg(file).arg("--earlier").arg(earlier).args(["--reason", "tour"]);
    Ok(outcome(command).await)
}

/// How a program ended, in a word, and what it said if it was not well.
async fn outcome(mut command: Command) -> (String, Held) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match command.output().await {
        Err(error) => ("none".to_owned(), Err(error.to_string())),
        Ok(output) if output.status.success() => ("exit 0".to_owned(), Ok(())),
        Ok(output) => {
            let said = [output.stderr, output.stdout].concat();
            let code = output.status.code().map_or("killed".to_owned(), |code| format!("exit {code}"));
            (code, Err(String::from_utf8_lossy(&said).trim().to_owned()))
        }
    }
}

/// The verifier accepts the file, says what the entry says, and refuses the file with one byte flipped.
async fn judge(
    tour: &mut Tour,
    place: &Place<'_>,
    file: &Path,
    kept: &Path,
    trust: &Trust,
    seen: u64,
) -> Result<(), TourError> {
    let bytes = fs::read(file).map_err(|error| TourError::File(file.to_owned(), error))?;
    let mut named = Err("there is no such entry in it".to_owned());
    let report = bundle::verify(&*bytes, trust, |entry| {
        if entry.index == seen {
            named = names_the_read(&entry);
        }
    });
    let whole = match &report {
        Ok(report) => {
            held(report.is_whole && report.continues.is_some(), "it does not continue the checkpoint")
        }
        Err(fault) => Err(fault.to_string()),
    };
    let text = "it is whole and continues the checkpoint, verified in this process";
    tour.fact(text, if report.is_ok() { "accepted" } else { "refused" }, whole)?;
    let text = format!("entry {seen} of it says who read which record of which patient");
    tour.fact(&text, if named.is_ok() { "named" } else { "no" }, named)?;

    let mut flipped = bytes;
    let middle = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(middle) {
        *byte ^= 1;
    }
    let refused = bundle::verify(&*flipped, trust, |_| ()).is_err();
    tour.fact(
        "with one bit in the middle flipped it is refused",
        "refused",
        held(refused, "it was accepted"),
    )?;
    let Some(program) = verifier() else { return Ok(()) };
    let copy = place.home.folder().join("tour-export-flipped");
    write(&copy, &flipped)?;
    let verdict = outcome(verify(&program, place, kept, file)).await;
    tour.fact("custodia-verify, a program of its own, accepts the file", &verdict.0, verdict.1)?;
    let (how, accepted) = outcome(verify(&program, place, kept, &copy)).await;
    remove(&copy)?;
    let refused = held(accepted.is_err() && how == "exit 1", "it was not refused");
    tour.fact("and refuses the flipped one", &how, refused)?;
    Ok(())
}

fn verify(program: &Path, place: &Place<'_>, kept: &Path, file: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--vkey").arg(place.vkey.to_string()).arg("--earlier").arg(kept).arg(file);
    command
}

/// custodia-verify, if it was built beside this program.
pub(crate) fn verifier() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name("custodia-verify");
    beside.is_file().then_some(beside)
}

fn names_the_read(entry: &VerifiedEntry) -> Held {
    let VerifiedBody::Opened(opened) = &entry.body else { return Err("it is not opened".to_owned()) };
    let subject = opened.subject.as_ref();
    let is_about = subject.is_some_and(|subject| {
        subject.tenant.as_deref() == Some(TENANT)
            && subject.patient.as_deref() == Some(format!("Patient/{CHART}").as_str())
    });
    let is_by = opened.actor.as_ref().is_some_and(|actor| actor.roles.iter().any(|role| role == "physician"));
    let is_read = opened.object.as_ref().is_some_and(|object| {
        object.interaction == "read" && object.items.iter().any(|item| item.id == CHART)
    });
    held(is_about && is_by && is_read, "it says something else")
}

fn remove(path: &Path) -> Result<(), TourError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TourError::File(path.to_owned(), error))
        }
        _ => Ok(()),
    }
}
