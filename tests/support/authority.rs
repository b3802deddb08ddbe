//! A certificate authority for tests.

#![expect(clippy::expect_used, reason = "a test that has no certificate has failed")]

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// Names that the server's certificate is for.
pub const NAMES: [&str; 2] = ["records.test", "localhost"];

/// A certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: String,
    /// The key, PEM.
    pub key: String,
    /// SHA-256 of the certificate's DER.
    pub thumbprint: [u8; 32],
}

impl Authority {
    /// A new authority of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key is made");
        let pem = params.self_signed(&key).expect("an authority signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for [`NAMES`].
    #[must_use]
    pub fn issue(&self) -> Identity {
        let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the names are valid");
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        Identity {
            thumbprint: custodia_audit::sha256(&[certificate.der()]),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}
