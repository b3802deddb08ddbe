//! Calls of a verifier: proofs, keys, policies, and wrong ones.

use custodia_audit::*;

use super::cases::witness;
use super::support::*;

type Call = (String, Vec<String>, i32);

/// Calls that verify a proof, or that ask wrongly, with the exit code of each.
pub(crate) fn calls(file: &dyn Fn(&str, &[u8]) -> String) -> Vec<Call> {
    let log = Log::of(300);
    let note = signer().sign_checkpoint(&log.checkpoint()).unwrap();
    let line = witness(1).cosign(&log.checkpoint(), 1_700_000_000).unwrap();
    let entry = |index: usize| log.kept[index].leaf().to_bytes();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = signer().vkey().to_string();
    let mut calls: Vec<Call> = Vec::new();
    let mut proof = |name: &str, text: &str, entry: &str, more: &[&str], code| {
        let path = file(&format!("proof-{}", calls.len()), text.as_bytes());
        let mut arguments = vec!["--json".to_owned()];
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments.extend(["proof".into(), path, entry.into()]);
        calls.push((name.to_owned(), arguments, code));
    };
    let of = |index: u64| {
        let hashes = inclusion_proof(index, 300, &log.tiles()).unwrap();
        ProofFile { extra: None, index, hashes, checkpoint: format!("{note}{line}") }
    };
    let trust = ["--vkey", key.as_str()];
    for index in [0, 1, 2, 255, 256, 298, 299] {
        let leaf = hex(&entry(usize::try_from(index).unwrap()));
        proof(&format!("of {index}"), &of(index).to_text(), &leaf, &trust, 0);
        proof(&format!("of {index}, not"), &of(index).to_text(), &hex(&entry(7)), &trust, 1);
    }
    let leaf = hex(&entry(9));
    let text = of(9).to_text();
    proof("from a file", &text, &file("entry", &entry(9)), &trust, 0);
    proof("with extra", &ProofFile { extra: Some(b"x".to_vec()), ..of(9) }.to_text(), &leaf, &trust, 0);
    proof("another index", &text.replace("index 9", "index 10"), &leaf, &trust, 1);
    proof("an index beyond", &text.replace("index 9", "index 300"), &leaf, &trust, 1);
    proof("a zero before", &text.replace("index 9", "index 09"), &leaf, &trust, 1);
    proof("another first line", &text.replacen("@v1", "@v2", 1), &leaf, &trust, 1);
    proof("no blank line", &text.replacen("\n\n", "\n", 2), &leaf, &trust, 1);
    let (mut short, mut long) = (of(9), of(9));
    short.hashes.pop();
    long.hashes.push(long.hashes[0]);
    proof("a hash less", &short.to_text(), &leaf, &trust, 1);
    proof("a hash more", &long.to_text(), &leaf, &trust, 1);
    proof("an entry of no form", &text, "0200", &trust, 2);
    proof("the wrong key", &text, &leaf, &["--vkey", &witness(1).vkey().to_string()], 2);
    proof("the wrong origin", &text, &leaf, &["--vkey", &key, "--origin", "audit.example/other"], 1);
    let (w1, w2) = (witness(1).vkey().to_string(), witness(2).vkey().to_string());
    proof("a witness", &text, &leaf, &["--vkey", &key, "--vkey", &w1, "--quorum", "1"], 0);
    proof("another witness", &text, &leaf, &["--vkey", &key, "--vkey", &w2, "--quorum", "1"], 1);
    proof("too high a quorum", &text, &leaf, &["--vkey", &key, "--vkey", &w1, "--quorum", "2"], 2);
    for (number, (policy, code)) in policies(&key, &w1, &w2).into_iter().enumerate() {
        let path = file(&format!("policy-{number}"), &policy);
        let name = format!("policy {}", String::from_utf8_lossy(&policy));
        proof(&name, &text, &leaf, &["--policy", &path], code);
    }
    calls
}

/// Policies, and the exit code for a proof that w1 cosigned.
fn policies(key: &str, w1: &str, w2: &str) -> Vec<(Vec<u8>, i32)> {
    let table = [
        ("log KEY;quorum none", 0),
        ("log KEY;witness a W1;quorum a", 0),
        ("log KEY;witness a W2;quorum a", 1),
        ("log KEY;witness a W1;witness b W2;group g any a b;quorum g", 0),
        ("log KEY;witness a W1;witness b W2;group g all a b;quorum g", 1),
        ("log KEY;witness a W1;witness b W2;group g 2 a b;quorum g", 1),
        ("\t log  KEY\thttps://x ; # c;;witness all W1;group any 1 all;quorum any", 0),
        ("witness a W1;quorum a", 2),
        ("log KEY", 2),
        ("log KEY;quorum a", 2),
        ("log KEY;quorum none;quorum none", 2),
        ("log KEY;log KEY;quorum none", 2),
        ("log W1;quorum none", 2),
        ("log KEY;witness a KEY;quorum a", 2),
        ("log KEY;witness a W1;witness b W1;quorum a", 2),
        ("log KEY;witness a W1;witness a W2;quorum a", 2),
        ("log KEY;witness none W1;quorum none", 2),
        ("log KEY;witness a W1;group g 0 a;quorum g", 2),
        ("log KEY;witness a W1;group g 2 a;quorum g", 2),
        ("log KEY;witness a W1;group g 01 a;quorum g", 2),
        ("log KEY;witness a W1;group g any a a;quorum g", 2),
        ("log KEY;witness a W1;group g any a;group h any a;quorum g", 2),
        ("log KEY;witness a W1;group g any none;quorum g", 2),
        ("log KEY;group g any;quorum g", 2),
        ("log KEY more than;quorum none", 2),
        ("log KEY;quorum none\r", 2),
        ("log KEY;frobnicate;quorum none", 2),
        ("", 2),
    ];
    let spelt = table.map(|(text, code)| {
        let text = text.replace("KEY", key).replace("W1", w1).replace("W2", w2).replace(';', "\n");
        (text.into_bytes(), code)
    });
    spelt.into()
}
