//! Looks for words in files, in every spelling that a database, a dump or a log could give them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The shortest word that is looked for: each of its spellings then has [`KEY_BYTES`] at least.
const WORD_BYTES_MIN: usize = 12;
/// Bytes by which a spelling is first recognised.
const KEY_BYTES: usize = 8;

/// Words to look for.
pub(super) struct Words {
    spellings: Vec<(Vec<u8>, String)>,
    by_key: HashMap<[u8; KEY_BYTES], Vec<usize>>,
    /// Which first three bytes any spelling has.
    starts: Vec<bool>,
}

/// What was found: the word, and where.
pub(super) type Found = BTreeMap<String, BTreeSet<String>>;

impl Words {
    pub(super) fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self { spellings: Vec::new(), by_key: HashMap::new(), starts: vec![false; 1 << 24] };
        for word in words {
            for spelling in spellings(word) {
                let key: [u8; KEY_BYTES] = spelling[..KEY_BYTES].try_into().unwrap();
                all.by_key.entry(key).or_default().push(all.spellings.len());
                all.starts[start(&spelling)] = true;
                all.spellings.push((spelling, word.to_owned()));
            }
        }
        all
    }

    /// Looks through bytes.
    pub(super) fn scan(&self, bytes: &[u8], place: &str, found: &mut Found) {
        for at in 0..bytes.len().saturating_sub(KEY_BYTES - 1) {
            let rest = &bytes[at..];
            if !self.starts[start(rest)] {
                continue;
            }
            let key: [u8; KEY_BYTES] = rest[..KEY_BYTES].try_into().unwrap();
            for one in self.by_key.get(&key).into_iter().flatten() {
                let (spelling, word) = &self.spellings[*one];
                if rest.starts_with(spelling) {
                    found.entry(word.clone()).or_default().insert(place.to_owned());
                }
            }
        }
    }

    /// Looks through every file of a folder, and their names; how many bytes those were.
    pub(super) fn scan_folder(&self, folder: &Path, found: &mut Found) -> u64 {
        let mut total = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            self.scan(path.to_string_lossy().as_bytes(), "a file's name", found);
            if path.is_dir() {
                total += self.scan_folder(&path, found);
            } else if path.is_file() {
                // A server that runs removes files of its own; what is gone holds nothing.
                let Ok(bytes) = fs::read(&path) else { continue };
                total += bytes.len() as u64;
                self.scan(&bytes, &path.to_string_lossy(), found);
            }
        }
        total
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// UTF-8, UTF-16, hexadecimal, and base64 at each of the three places where a group can begin.
fn spellings(word: &str) -> Vec<Vec<u8>> {
    assert!(word.len() >= WORD_BYTES_MIN, "{word} is too short to be looked for");
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![
        word.as_bytes().to_vec(),
        word.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
    ];
    for before in 0..3 {
        let padded = [vec![0; before], word.as_bytes().to_vec()].concat();
        // Letters that depend on what stands before or after the word are left out.
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        let text = &STANDARD.encode(&padded)[first..last];
        all.push(text.as_bytes().to_vec());
        all.push(text.replace('+', "-").replace('/', "_").into_bytes());
    }
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_word_is_found_in_every_spelling_and_only_there() {
    let words = Words::new(["Canary7f3k2q", "another-one-x"]);
    let word = "Canary7f3k2q";
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let utf16: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let base64 = |before: &str| STANDARD.encode(format!("{before}{word} and more"));
    let cases: Vec<Vec<u8>> = vec![
        format!("..{word}..").into_bytes(),
        utf16,
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        base64("").into_bytes(),
        base64("x").into_bytes(),
        base64("xy").into_bytes(),
        base64("xyz").into_bytes(),
    ];
    for bytes in cases {
        let mut found = Found::new();
        words.scan(&bytes, "here", &mut found);
        assert_eq!(found.keys().collect::<Vec<_>>(), [word], "{}", String::from_utf8_lossy(&bytes));
    }
    let mut found = Found::new();
    words.scan("Canary7f3k2 q another_one_x canary7f3k2q".as_bytes(), "here", &mut found);
    assert!(found.is_empty());
}
