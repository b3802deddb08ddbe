//! The canonical bytes of the five groups, and the strict way back.
//!
//! Each group is a CBOR map with the integer keys below; an absent value is an absent key.
//! Imports `cbor` and the entry's types.

use thiserror::Error;

use super::{Action, Actor, Decision, Detail, Entry, Event, Item, Kind, Object, Outcome, Subject};
use crate::cbor::{CborFault, MapWriter, Reader, read_map, write_array, write_bytes, write_text, write_uint};

/// The longest a group may be, in bytes: about ten thousand released versions.
///
/// Encoding does not check it; whoever appends to the log must, since no verifier reads a longer one.
pub const GROUP_BYTES_MAX: usize = 1 << 20;

/// A group that is not in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("group G{group}: {source}")]
pub struct GroupFault {
    /// Which of the five groups, 0 to 4.
    pub group: u8,
    /// What is wrong with it.
    #[source]
    pub source: CborFault,
}

impl Entry {
    /// The canonical bytes of the five groups, G0 to G4.
    #[must_use]
    pub fn groups(&self) -> [Vec<u8>; 5] {
        [
            self.event.to_group(),
            self.actor.to_group(),
            self.subject.to_group(),
            self.object.to_group(),
            self.detail.to_group(),
        ]
    }

    /// Reads an entry back, refusing bytes that are not exactly what [`Entry::groups`] writes.
    pub fn from_groups<B: AsRef<[u8]>>(groups: &[B; 5]) -> Result<Self, GroupFault> {
        let [event, actor, subject, object, detail] = groups;
        Ok(Self {
            event: Event::from_group(event.as_ref())?,
            actor: Actor::from_group(actor.as_ref())?,
            subject: Subject::from_group(subject.as_ref())?,
            object: Object::from_group(object.as_ref())?,
            detail: Detail::from_group(detail.as_ref())?,
        })
    }
}

/// Decodes, encodes again and compares, so that one meaning has one spelling.
fn strictly<T>(
    group: u8,
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, CborFault>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, GroupFault> {
    if bytes.len() > GROUP_BYTES_MAX {
        return Err(GroupFault { group, source: CborFault::TooLong });
    }
    let value = decode(bytes).map_err(|source| GroupFault { group, source })?;
    if encode(&value) != bytes {
        return Err(GroupFault { group, source: CborFault::NotCanonical });
    }
    Ok(value)
}

fn required<T>(value: Option<T>) -> Result<T, CborFault> {
    value.ok_or(CborFault::MissingField)
}

fn word<T>(reader: &mut Reader<'_>, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, CborFault> {
    parse(reader.text()?).ok_or(CborFault::OutOfRange)
}

impl Event {
    /// The canonical bytes of G0.
    #[must_use]
    pub fn to_group(&self) -> Vec<u8> {
        let mut map =
            MapWriter::with_capacity(64 + self.origin.len() + self.node.len() + self.outcome.code.len());
        map.text(0, &self.origin);
        map.text(1, self.kind.as_str());
        map.int(2, self.time_micros);
        map.text(3, &self.node);
        map.uint(4, self.sequence);
        map.bytes(5, &self.request);
        map.uint(6, u64::from(self.outcome.status));
        map.text(7, &self.outcome.code);
        map.finish()
    }

    /// Reads G0 back.
    pub fn from_group(bytes: &[u8]) -> Result<Self, GroupFault> {
        strictly(0, bytes, decode_event, Self::to_group)
    }
}

fn decode_event(bytes: &[u8]) -> Result<Event, CborFault> {
    let (mut origin, mut kind, mut time, mut node) = (None, None, None, None);
    let (mut sequence, mut request, mut status, mut code) = (None, None, None, None);
    read_map(bytes, |key, reader| {
        match key {
            0 => origin = Some(reader.string()?),
            1 => kind = Some(word(reader, Kind::parse)?),
            2 => time = Some(reader.int()?),
            3 => node = Some(reader.string()?),
            4 => sequence = Some(reader.uint()?),
            5 => request = Some(reader.array()?),
            6 => status = Some(u16::try_from(reader.uint()?).map_err(|_| CborFault::OutOfRange)?),
            7 => code = Some(reader.string()?),
            _ => return Err(CborFault::UnknownKey),
        }
        Ok(())
    })?;
    Ok(Event {
        origin: required(origin)?,
        kind: required(kind)?,
        time_micros: required(time)?,
        node: required(node)?,
        sequence: required(sequence)?,
        request: required(request)?,
        outcome: Outcome { status: required(status)?, code: required(code)? },
    })
}

impl Actor {
    /// The canonical bytes of G1.
    #[must_use]
    pub fn to_group(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(256);
        map.text_option(0, self.user.as_deref());
        map.texts(1, &self.roles);
        map.text_option(2, self.organisation.as_deref());
        map.text_option(3, self.client.as_deref());
        map.text_option(4, self.token_id.as_deref());
        if let Some(thumbprint) = &self.thumbprint {
            map.bytes(5, thumbprint);
        }
        map.text_option(6, self.address.as_deref());
        map.finish()
    }

    /// Reads G1 back.
    pub fn from_group(bytes: &[u8]) -> Result<Self, GroupFault> {
        strictly(1, bytes, decode_actor, Self::to_group)
    }
}

fn decode_actor(bytes: &[u8]) -> Result<Actor, CborFault> {
    let mut actor = Actor::default();
    let mut roles = None;
    read_map(bytes, |key, reader| {
        match key {
            0 => actor.user = Some(reader.string()?),
            1 => roles = Some(reader.strings()?),
            2 => actor.organisation = Some(reader.string()?),
            3 => actor.client = Some(reader.string()?),
            4 => actor.token_id = Some(reader.string()?),
            5 => actor.thumbprint = Some(reader.array()?),
            6 => actor.address = Some(reader.string()?),
            _ => return Err(CborFault::UnknownKey),
        }
        Ok(())
    })?;
    actor.roles = required(roles)?;
    Ok(actor)
}

impl Subject {
    /// The canonical bytes of G2.
    #[must_use]
    pub fn to_group(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(96);
        map.text_option(0, self.tenant.as_deref());
        map.text_option(1, self.patient.as_deref());
        map.finish()
    }

    /// Reads G2 back.
    pub fn from_group(bytes: &[u8]) -> Result<Self, GroupFault> {
        strictly(2, bytes, decode_subject, Self::to_group)
    }
}

fn decode_subject(bytes: &[u8]) -> Result<Subject, CborFault> {
    let mut subject = Subject::default();
    read_map(bytes, |key, reader| {
        match key {
            0 => subject.tenant = Some(reader.string()?),
            1 => subject.patient = Some(reader.string()?),
            _ => return Err(CborFault::UnknownKey),
        }
        Ok(())
    })?;
    Ok(subject)
}

impl Object {
    /// The canonical bytes of G3.
    #[must_use]
    pub fn to_group(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(160 + self.items.len() * 112);
        map.text(0, &self.interaction);
        let out = map.key(1);
        write_array(out, self.items.len());
        for item in &self.items {
            write_item(out, item);
        }
        if let Some(policy_set) = &self.policy_set {
            map.bytes(2, policy_set);
        }
        map.texts(3, &self.policies);
        map.text(4, self.decision.as_str());
        map.finish()
    }

    /// Reads G3 back.
    pub fn from_group(bytes: &[u8]) -> Result<Self, GroupFault> {
        strictly(3, bytes, decode_object, Self::to_group)
    }
}

/// An item is an array of five: type, id, version, digest, action.
fn write_item(out: &mut Vec<u8>, item: &Item) {
    write_array(out, 5);
    write_text(out, &item.kind);
    write_text(out, &item.id);
    write_uint(out, u64::from(item.version));
    write_bytes(out, &item.digest);
    write_text(out, item.action.as_str());
}

fn read_item(reader: &mut Reader<'_>) -> Result<Item, CborFault> {
    if reader.count()? != 5 {
        return Err(CborFault::OutOfRange);
    }
    Ok(Item {
        kind: reader.string()?,
        id: reader.string()?,
        version: u32::try_from(reader.uint()?).map_err(|_| CborFault::OutOfRange)?,
        digest: reader.array()?,
        action: word(reader, Action::parse)?,
    })
}

fn decode_object(bytes: &[u8]) -> Result<Object, CborFault> {
    let (mut interaction, mut items, mut policy_set, mut policies, mut decision) =
        (None, None, None, None, None);
    read_map(bytes, |key, reader| {
        match key {
            0 => interaction = Some(reader.string()?),
            1 => {
                items = Some((0..reader.count()?).map(|_| read_item(reader)).collect::<Result<Vec<_>, _>>()?)
            }
            2 => policy_set = Some(reader.array()?),
            3 => policies = Some(reader.strings()?),
            4 => decision = Some(word(reader, Decision::parse)?),
            _ => return Err(CborFault::UnknownKey),
        }
        Ok(())
    })?;
    Ok(Object {
        interaction: required(interaction)?,
        items: required(items)?,
        policy_set,
        policies: required(policies)?,
        decision: required(decision)?,
    })
}

impl Detail {
    /// The canonical bytes of G4.
    #[must_use]
    pub fn to_group(&self) -> Vec<u8> {
        let mut map = MapWriter::with_capacity(64);
        map.text_option(0, self.purpose.as_deref());
        map.text_option(1, self.query.as_deref());
        map.text_option(2, self.reason.as_deref());
        map.finish()
    }

    /// Reads G4 back.
    pub fn from_group(bytes: &[u8]) -> Result<Self, GroupFault> {
        strictly(4, bytes, decode_detail, Self::to_group)
    }
}

fn decode_detail(bytes: &[u8]) -> Result<Detail, CborFault> {
    let mut detail = Detail::default();
    read_map(bytes, |key, reader| {
        match key {
            0 => detail.purpose = Some(reader.string()?),
            1 => detail.query = Some(reader.string()?),
            2 => detail.reason = Some(reader.string()?),
            _ => return Err(CborFault::UnknownKey),
        }
        Ok(())
    })?;
    Ok(detail)
}
