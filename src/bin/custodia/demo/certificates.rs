//! The demo's own authority, and the certificates it issues once.
//!
//! The authority's key is never written: what it signed is all there will be.

use chrono::Datelike as _;
use custodia::clock::Clock;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// How long certificates are good, in years.
const YEARS: i32 = 5;

/// A certificate and its key, PEM.
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: String,
    /// Its key, PKCS #8.
    pub(crate) key: String,
}

/// Whom a certificate is for.
#[derive(Clone, Copy)]
pub(crate) enum Holder<'a> {
    /// The server on this machine.
    Server,
    /// A partner, by name.
    Partner(&'a str),
}

/// An authority that lives as long as this value.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    years: (i32, i32),
}

impl Authority {
    /// A fresh one.
    pub(crate) fn new(clock: &Clock) -> Result<Self, rcgen::Error> {
        let year = clock.now().year();
        let years = (year - 1, year + YEARS);
        let mut params = params(Vec::new(), "Custodia demo authority", years)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, years })
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate and its key. A server's cannot be used by a client, nor the other way round.
    pub(crate) fn issue(&self, holder: Holder<'_>) -> Result<Identity, rcgen::Error> {
        let (name, names, usage) = match holder {
            Holder::Server => {
                let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
                ("localhost", names, ExtendedKeyUsagePurpose::ServerAuth)
            }
            Holder::Partner(name) => (name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth),
        };
        let mut params = params(names, name, self.years)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

fn params(names: Vec<String>, name: &str, years: (i32, i32)) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    Ok(params)
}
