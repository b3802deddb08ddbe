//! A small log in memory, written the way a server would, and exports of it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use custodia_audit::bundle::*;
use custodia_audit::*;

pub(crate) const ORIGIN: &str = "audit.example/clinic";

pub(crate) fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).unwrap()
}

pub(crate) fn trust() -> Trust {
    Trust::of_log(&signer().vkey(), None)
}

pub(crate) struct Access {
    pub(crate) groups: [Vec<u8>; 5],
    pub(crate) salts: Salts,
}

pub(crate) enum Kept {
    Access(Box<Access>),
    Control(Control),
}

impl Kept {
    pub(crate) fn leaf(&self) -> Leaf {
        match self {
            Self::Access(access) => Leaf::Access(commit(&access.groups, &access.salts)),
            Self::Control(control) => Leaf::Control(control.clone()),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum View {
    Opened,
    Withheld,
    WithoutWho,
    WithoutWhen,
}

pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) kept: Vec<Kept>,
    pub(crate) edge: Edge,
    pub(crate) full: Vec<Tile>,
}

impl Log {
    pub(crate) fn new(origin: &str) -> Self {
        Self { origin: origin.into(), kept: Vec::new(), edge: Edge::empty(), full: Vec::new() }
    }

    /// `size` entries of two nodes, beginning with their starts.
    pub(crate) fn of(size: u64) -> Self {
        let mut log = Self::new(ORIGIN);
        for index in 0..size {
            let time_micros = 1_700_000_000_000_000 + i64::try_from(index).unwrap() * 1_000_003;
            let node = if index % 2 == 0 { "node-a" } else { "node-b" };
            match index {
                0 | 1 => {
                    log.control(Control::Start { node: node.into(), time_micros, version: "1.0.0".into() })
                }
                _ => log.access(node, index / 2 - 1, time_micros),
            }
        }
        log
    }

    pub(crate) fn control(&mut self, control: Control) {
        self.push(Kept::Control(control));
    }

    pub(crate) fn access(&mut self, node: &str, sequence: u64, time_micros: i64) {
        let entry = entry(&self.origin, node, sequence, time_micros, self.edge.size());
        self.entry(&entry);
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&self.edge.size().to_be_bytes());
        self.push(Kept::Access(Box::new(Access { groups: entry.groups(), salts: Salts::from_seed(&seed) })));
    }

    /// An access of these groups, canonical or not.
    pub(crate) fn raw(&mut self, groups: [Vec<u8>; 5]) {
        self.push(Kept::Access(Box::new(Access { groups, salts: Salts::from_seed(&[3; 32]) })));
    }

    /// What a frame says of an access that is opened, without its index.
    pub(crate) fn opened_body(&self, index: usize) -> Vec<u8> {
        let Kept::Access(access) = &self.kept[index] else { unreachable!() };
        let mut body = Vec::new();
        for (salt, group) in access.salts.0.iter().zip(&access.groups) {
            body.push(1);
            body.extend_from_slice(salt);
            body.extend_from_slice(&u32::try_from(group.len()).unwrap().to_be_bytes());
            body.extend_from_slice(group);
        }
        body
    }

    fn push(&mut self, kept: Kept) {
        self.full.extend(self.edge.append(leaf_hash(&kept.leaf().to_bytes())));
        self.kept.push(kept);
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.edge.size(), root: self.edge.root() }
    }

    pub(crate) fn tiles(&self) -> Tiles {
        let mut tiles = Tiles::new();
        self.full.iter().cloned().chain(self.edge.partial_tiles()).for_each(|tile| tiles.insert(tile));
        tiles
    }

    pub(crate) fn header(&self, first: u64, end: u64) -> Header {
        Header {
            origin: self.origin.clone(),
            tenant: None,
            first,
            end,
            exported_micros: 1_800_000_000_000_000,
            reason: "yearly audit".into(),
        }
    }

    pub(crate) fn export(&self, first: u64, end: u64, view: impl Fn(u64) -> View) -> Vec<u8> {
        self.export_from(first, end, None, view)
    }

    pub(crate) fn export_from(
        &self,
        first: u64,
        end: u64,
        earlier: Option<u64>,
        view: impl Fn(u64) -> View,
    ) -> Vec<u8> {
        let note = signer().sign_checkpoint(&self.checkpoint()).unwrap();
        self.export_as(self.header(first, end), &note, earlier, view)
    }

    /// An export with this header, under this signed checkpoint.
    pub(crate) fn export_as(
        &self,
        header: Header,
        note: &str,
        earlier: Option<u64>,
        view: impl Fn(u64) -> View,
    ) -> Vec<u8> {
        self.export_by(&signer(), header, note, earlier, view)
    }

    /// The same, its manifest signed by somebody.
    pub(crate) fn export_by(
        &self,
        by: &Signer,
        header: Header,
        note: &str,
        earlier: Option<u64>,
        view: impl Fn(u64) -> View,
    ) -> Vec<u8> {
        let proof = earlier.map(|size| consistency_proof(size, self.edge.size(), &self.tiles()).unwrap());
        let earlier = earlier.zip(proof.as_deref());
        let (first, end) = (header.first, header.end);
        let mut writer = Writer::begin(Vec::new(), header, note, self.edge.clone(), earlier).unwrap();
        for index in first..end {
            while let Some(id) = writer.needs() {
                let tile = self.full.iter().find(|tile| tile.id() == Some(id)).unwrap();
                writer.tile(tile.clone()).unwrap();
            }
            writer.entry(&self.record(index, view(index))).unwrap();
        }
        writer.finish(by).unwrap()
    }

    pub(crate) fn record(&self, index: u64, view: View) -> Record<'_> {
        let kept = &self.kept[usize::try_from(index).unwrap()];
        match (kept, kept.leaf(), view) {
            (_, Leaf::Control(control), _) => Record::Control(control),
            (_, Leaf::Access(commitment), View::Withheld) => Record::Withheld(commitment),
            (Kept::Access(access), _, View::Opened) => access.opened(None),
            (Kept::Access(access), _, View::WithoutWho) => access.opened(Some(1)),
            (Kept::Access(access), _, View::WithoutWhen) => access.opened(Some(0)),
            (Kept::Control(_), Leaf::Access(_), _) => unreachable!(),
        }
    }

    pub(crate) fn verify(&self, bundle: &[u8]) -> Result<Report, Fault> {
        verify(bundle, &trust(), |_| {})
    }
}

impl Access {
    fn opened(&self, without: Option<usize>) -> Record<'_> {
        Record::Opened(std::array::from_fn(|group| {
            let (salt, bytes) = (&self.salts.0[group], self.groups[group].as_slice());
            if without == Some(group) {
                let digest = group_digest(u8::try_from(group).unwrap(), salt, bytes);
                Group::Withheld(Box::leak(Box::new(digest)))
            } else {
                Group::Opened { salt, bytes }
            }
        }))
    }
}

pub(crate) fn entry(origin: &str, node: &str, sequence: u64, time_micros: i64, number: u64) -> Entry {
    let number_bytes = number.to_be_bytes();
    let mut request = [0; 16];
    request[8..].copy_from_slice(&number_bytes);
    Entry {
        event: Event {
            origin: origin.into(),
            kind: Kind::Access,
            time_micros,
            node: node.into(),
            sequence,
            request,
            outcome: Outcome { status: 200, code: "ok".into() },
        },
        actor: Actor {
            user: Some(format!("user-{}", number % 7)),
            roles: vec!["physician".into()],
            organisation: Some("Organization/1".into()),
            client: Some("chart".into()),
            token_id: Some(format!("token-{number}")),
            thumbprint: Some([9; 32]),
            address: Some("192.0.2.7".into()),
        },
        subject: Subject { tenant: Some("clinic".into()), patient: Some(format!("Patient/{}", number % 11)) },
        object: Object {
            interaction: "read".into(),
            items: vec![Item {
                kind: "Observation".into(),
                id: format!("o-{number}"),
                version: 1,
                digest: [3; 32],
                action: Action::Released,
            }],
            policy_set: Some([4; 32]),
            policies: vec!["physician/read".into()],
            decision: Decision::Permit,
        },
        detail: Detail { purpose: Some("TREAT".into()), query: None, reason: None },
    }
}

/// A bundle taken apart into frames, to be tampered with.
pub(crate) struct Frames(pub(crate) Vec<(u8, Vec<u8>)>);

pub(crate) const MAGIC: &[u8] = b"custodia/bundle/v1\n";

impl Frames {
    pub(crate) fn of(bundle: &[u8]) -> Self {
        let mut rest = &bundle[MAGIC.len()..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
            frames.push((rest[0], rest[5..5 + length].to_vec()));
            rest = &rest[5 + length..];
        }
        Self(frames)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (kind, payload) in &self.0 {
            bytes.push(*kind);
            bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    /// The bytes with the manifest made anew and signed with the log's own key: the worst forger.
    pub(crate) fn resealed(mut self) -> Vec<u8> {
        let (kind, note) = self.0.pop().unwrap();
        let count = |wanted| self.0.iter().filter(|(kind, _)| *kind == wanted).count();
        let (opened, withheld, control) = (count(6), count(7), count(8));
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.bytes());
        let digest = Hash(digest.as_ref().try_into().unwrap());
        let note = Note::parse(&note).unwrap();
        let head: Vec<&str> = note.text().lines().take(4).collect();
        let text = format!(
            "{}\nopened {opened}\nwithheld {withheld}\ncontrol {control}\nsha256 {digest}\n",
            head.join("\n")
        );
        self.0.push((kind, signer().sign_note(&text).unwrap().into_bytes()));
        self.bytes()
    }

    /// Changes what the frame of the entry at `index` says.
    pub(crate) fn change(&mut self, index: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let at = self.at(index);
        change(&mut self.0[at].1);
    }

    /// Makes the frame of the entry at `index` one of another kind that says something else.
    pub(crate) fn turn(&mut self, index: u64, kind: u8, body: &[u8]) {
        let at = self.at(index);
        self.0[at] = (kind, [&index.to_be_bytes(), body].concat());
    }

    /// Exchanges the frames of two entries.
    pub(crate) fn swap(&mut self, one: u64, other: u64) {
        let (one, other) = (self.at(one), self.at(other));
        self.0.swap(one, other);
    }

    /// Puts the frame of the entry at `index` there twice.
    pub(crate) fn repeat(&mut self, index: u64) {
        let at = self.at(index);
        let frame = self.0[at].clone();
        self.0.insert(at, frame);
    }

    /// Adds an opened entry before the manifest.
    pub(crate) fn add(&mut self, index: u64, body: &[u8]) {
        let at = self.0.len() - 1;
        self.0.insert(at, (6, [&index.to_be_bytes(), body].concat()));
    }

    /// Where the frame of the entry at `index` is.
    pub(crate) fn at(&self, index: u64) -> usize {
        let is_entry =
            |(kind, payload): &(u8, Vec<u8>)| (6..=8).contains(kind) && payload[..8] == index.to_be_bytes();
        self.0.iter().position(is_entry).unwrap()
    }
}
