//! The certificate a client showed, and whether it still holds.
//!
//! May import nothing of the house.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rustls::{crypto::ring, server::ServerConnection};
use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::{config::Limits, events::EdgeEventKind, tls::DoorTls};

/// A client certificate that passed its handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// SHA-256 over the DER (`x5t#S256`, RFC 8705 §3.1).
    pub thumbprint: [u8; 32],
}

/// What one connection showed, and when it was last found to hold.
pub(super) struct Presented {
    pub(super) certificate: Arc<ClientCertificate>,
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
    not_before: u64,
    not_after: u64,
    checked_generation: AtomicU64,
    checked_at: AtomicU64,
}

impl Presented {
    /// What this handshake showed; `None` when the client showed nothing readable.
    pub(super) fn of(connection: &ServerConnection, door: &DoorTls, generation: u64) -> Option<Self> {
        let (leaf, intermediates) = connection.peer_certificates()?.split_first()?;
        let (_, parsed) = parse_x509_certificate(leaf).ok()?;
        let second = |time: i64| u64::try_from(time).unwrap_or(0);
        Some(Self {
            not_before: second(parsed.validity().not_before.timestamp()),
            not_after: second(parsed.validity().not_after.timestamp()),
            certificate: Arc::new(ClientCertificate { der: leaf.to_vec(), thumbprint: sha256(leaf)? }),
            leaf: leaf.clone().into_owned(),
            intermediates: intermediates.iter().map(|one| one.clone().into_owned()).collect(),
            checked_generation: AtomicU64::new(generation),
            checked_at: AtomicU64::new(door.now().as_secs()),
        })
    }

    /// Whether the certificate holds for a request that arrives now.
    ///
    /// Its own dates are compared every time; the chain and the revocation lists are gone through again when the
    /// door's files were read anew, or the last time is `certificate_recheck` ago.
    pub(super) fn still_holds(&self, door: &DoorTls, limits: &Limits) -> Result<(), EdgeEventKind> {
        let time = door.now();
        let now = time.as_secs();
        if now < self.not_before {
            return Err(EdgeEventKind::CertificateNotYetValid);
        }
        if now > self.not_after {
            return Err(EdgeEventKind::CertificateExpired);
        }
        let age = now.saturating_sub(self.checked_at.load(Ordering::Relaxed));
        let same_files = door.generation() == self.checked_generation.load(Ordering::Relaxed);
        if same_files && age < limits.certificate_recheck.as_secs() {
            return Ok(());
        }
        let loaded = door.current();
        let Some(verifier) = &loaded.verifier else { return Err(EdgeEventKind::CertificateInvalid) };
        verifier
            .verify_client_cert(&self.leaf, &self.intermediates, time)
            .map_err(|error| EdgeEventKind::of_tls(&error))?;
        self.checked_generation.store(loaded.generation, Ordering::Relaxed);
        self.checked_at.store(now, Ordering::Relaxed);
        Ok(())
    }
}

/// SHA-256, as the TLS provider already computes it for every handshake.
fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
    suite.common.hash_provider.hash(bytes).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::sha256;

    #[test]
    fn a_thumbprint_is_sha256() {
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
            0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(sha256(b"abc"), Some(expected), "FIPS 180-4, example of SHA-256");
    }
}
