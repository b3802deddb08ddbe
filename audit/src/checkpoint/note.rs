//! Signed notes (c2sp.org/signed-note): a text, a blank line, signature lines.
//!
//! ```text
//! <text, ending in LF>
//! <LF>
//! — <key name> <base64(key id[4] || signature)><LF>     one line or more
//! ```
//! Imports `bytes` and the key module.

use thiserror::Error;

use super::key::is_key_name;
use super::{KeyKind, Vkey};
use crate::bytes::{base64, unbase64};

/// The longest note that is read, in bytes.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;

/// The most signatures a note may carry.
pub const SIGNATURES_MAX: usize = 64;

/// Why a note was refused; never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteFault {
    /// Longer than [`NOTE_BYTES_MAX`].
    #[error("the note is too long")]
    TooLong,
    /// Not UTF-8, or no line feed at the end, or other control characters.
    #[error("the note's text is malformed")]
    Text,
    /// A signature line is malformed, or there is none, or too many.
    #[error("the note's signature lines are malformed")]
    Lines,
    /// A key we know made none of the signatures.
    #[error("no trusted key signed the note")]
    Unsigned,
    /// A signature of a key we know does not hold.
    #[error("a trusted key's signature does not hold")]
    BadSignature,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub key_id: [u8; 4],
    /// The signature, in whatever form that kind of key gives it.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    /// Reads signature lines alone, each ended by a line feed, as a witness answers with: one or more.
    pub fn parse_lines(bytes: &[u8]) -> Result<Vec<Self>, NoteFault> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteFault::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| NoteFault::Text)?;
        let lines = text.strip_suffix('\n').ok_or(NoteFault::Lines)?;
        parse_lines(lines)
    }

    /// The line, with its line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut bytes = self.key_id.to_vec();
        bytes.extend_from_slice(&self.signature);
        format!("\u{2014} {} {}\n", self.name, base64(&bytes))
    }
}

/// A signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name of the key.
    pub name: String,
    /// The kind of key.
    pub kind: KeyKind,
    /// The public key.
    pub public: [u8; 32],
    /// When a witness cosigned, in seconds since 1970.
    pub time: Option<u64>,
}

/// A note in its parts, its signatures not yet believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Whether a text can be that of a note.
pub(super) fn is_note_text(text: &str) -> bool {
    text.ends_with('\n') && !text.bytes().any(|byte| byte < 0x20 && byte != b'\n')
}

impl Note {
    /// Takes a note apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteFault> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(NoteFault::TooLong);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteFault::Text)?;
        if !is_note_text(note) {
            return Err(NoteFault::Text);
        }
        // The last blank line ends the text, which keeps its own line feed.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteFault::Lines)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteFault::Lines)?;
        Ok(Self { text: format!("{text}\n"), signatures: parse_lines(lines)? })
    }

    /// The text, its last line feed included. Believe it only after [`Note::verify`].
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The note as it is written, signatures and all.
    #[must_use]
    pub fn to_text(&self) -> String {
        let lines: String = self.signatures.iter().map(NoteSignature::to_line).collect();
        format!("{}\n{lines}", self.text)
    }

    /// A text with one signature, believed or not.
    pub(crate) fn with(text: &str, signature: NoteSignature) -> Self {
        Self { text: text.to_owned(), signatures: vec![signature] }
    }

    /// Adds a signature, unless there are as many as a note may carry.
    pub(crate) fn add(&mut self, signature: NoteSignature) {
        if self.signatures.len() < SIGNATURES_MAX {
            self.signatures.push(signature);
        }
    }

    /// Checks every signature of a key in `keys` and ignores the others.
    ///
    /// One bad signature of a known key refuses the note, and so does the absence of any known key's.
    pub fn verify(&self, keys: &[Vkey]) -> Result<Vec<Verified>, NoteFault> {
        let mut verified = Vec::new();
        for line in &self.signatures {
            let known = keys.iter().find(|key| key.name() == line.name && key.key_id() == line.key_id);
            if let Some(key) = known {
                let time = key.verify(&self.text, &line.signature)?;
                let (name, kind, public) = (line.name.clone(), key.kind(), *key.public());
                verified.push(Verified { name, kind, public, time });
            }
        }
        if verified.is_empty() { Err(NoteFault::Unsigned) } else { Ok(verified) }
    }
}

fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteFault> {
    let signatures: Vec<_> = lines
        .split('\n')
        .take(SIGNATURES_MAX + 1)
        .map(parse_line)
        .collect::<Option<_>>()
        .ok_or(NoteFault::Lines)?;
    if signatures.len() > SIGNATURES_MAX { Err(NoteFault::Lines) } else { Ok(signatures) }
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let signature = unbase64(signature)?;
    let (key_id, signature) = signature.split_first_chunk::<4>()?;
    let usable = is_key_name(name) && !signature.is_empty();
    usable.then(|| NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
}
