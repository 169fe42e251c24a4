//! Certificates for test hosts.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a host proves itself with.
#[derive(Debug)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: PrivateKeyDer<'static>,
    pub pem: String,
    pub key_pem: String,
}

impl Identity {
    /// A certificate for 127.0.0.1 and localhost that nobody else has signed.
    pub fn self_signed() -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(own_names()).unwrap();
        Identity::of(params.self_signed(&key).unwrap(), &key)
    }

    /// A self-signed certificate with CA:TRUE, as `openssl req -x509` makes them.
    pub fn self_signed_authority() -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(own_names()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Identity::of(params.self_signed(&key).unwrap(), &key)
    }

    /// One whose dates cannot be read.
    pub fn with_dates_that_are_none() -> Identity {
        const DATE: &[u8] = b"750101000000Z";
        let mut identity = Identity::self_signed();
        let mut der = identity.certificate.to_vec();
        let at = der.windows(DATE.len()).position(|text| text == DATE);
        der[at.expect("rcgen's first date")] = b'x';
        identity.certificate = CertificateDer::from(der);
        let base64 = base64(&identity.certificate);
        identity.pem =
            format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        identity
    }

    /// A certificate out of a file, shown by a host that does not have its key.
    pub fn stolen(pem: &str) -> Identity {
        use rustls::pki_types::pem::PemObject;
        Identity {
            certificate: CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(),
            key: Identity::self_signed().key,
            pem: pem.to_owned(),
            key_pem: String::new(),
        }
    }

    fn of(certificate: rcgen::Certificate, key: &KeyPair) -> Identity {
        Identity {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }
}

/// A CA that signs certificates of hosts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            pem: certificate.pem(),
        }
    }

    /// A certificate for 127.0.0.1 and localhost.
    pub fn sign(&self) -> Identity {
        self.sign_for(&own_names(), |_| ())
    }

    /// A certificate for other names, or with something else different about it.
    pub fn sign_for(
        &self,
        names: &[String],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        Identity::of(params.signed_by(&key, &self.issuer).unwrap(), &key)
    }
}

fn own_names() -> Vec<String> {
    vec!["127.0.0.1".to_owned(), "localhost".to_owned()]
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            text.push(if digit <= three.len() {
                char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize])
            } else {
                '='
            });
        }
    }
    text
}
