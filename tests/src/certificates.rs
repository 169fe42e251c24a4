//! Certificates for the hosts of a test, good and bad.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DistinguishedName, DnType,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certification authority.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one that the hosts of every cluster have their certificates from.
    #[must_use]
    pub fn shared() -> &'static Authority {
        static SHARED: LazyLock<Authority> = LazyLock::new(|| Authority::new("harp tests"));
        &SHARED
    }

    /// Another one.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).expect("no names, so none is wrong");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = new_key();
        let certificate = params
            .self_signed(&key)
            .expect("a certificate of a good key");
        Authority {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// Its certificate, for a `ca_file`.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A host's certificate with these subjectAltNames, DNS names or addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> HostCertificate {
        self.sign(params(names))
    }

    /// A certificate for 127.0.0.1 that is so many bytes long, by an extension that means
    /// nothing.
    #[must_use]
    pub fn issue_huge(&self, bytes: usize) -> HostCertificate {
        let mut params = params(&["127.0.0.1"]);
        let nothing = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999], vec![0; bytes]);
        params.custom_extensions.push(nothing);
        self.sign(params)
    }

    /// The certificate of a client, whose subject has this common name.
    #[must_use]
    pub fn issue_to(&self, common_name: &str) -> HostCertificate {
        let mut params = params(&[]);
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        self.sign(params)
    }

    /// A TLS client that trusts this authority and shows a certificate or none.
    pub(crate) fn client(&self, own: Option<&HostCertificate>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate.der().clone())
            .expect("a certificate of a CA");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that the library knows")
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.certificate.clone()], own.private_key())
                .expect("a key that fits its certificate"),
        }
    }

    /// One whose time is over.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> HostCertificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    /// One whose time is over in so many seconds.
    #[must_use]
    pub fn issue_for(&self, names: &[&str], seconds: u64) -> HostCertificate {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock that is past 1970");
        let mut params = params(names);
        params.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(seconds);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> HostCertificate {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer);
        HostCertificate::new(&certificate.expect("a certificate of a good key"), &key)
    }
}

/// A host's certificate and its key.
#[derive(Debug, Clone)]
pub struct HostCertificate {
    /// The certificate, PEM.
    pub pem: String,
    /// The private key, PEM.
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: Arc<[u8]>,
}

impl HostCertificate {
    /// One that no authority has signed.
    ///
    /// # Panics
    ///
    /// If there is no randomness.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> HostCertificate {
        let key = new_key();
        let certificate = params(names).self_signed(&key);
        HostCertificate::new(&certificate.expect("a certificate of a good key"), &key)
    }

    fn new(certificate: &Certificate, key: &KeyPair) -> HostCertificate {
        HostCertificate {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            certificate: certificate.der().clone(),
            key: key.serialized_der().into(),
        }
    }

    /// Its SHA-256 in lower case hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.certificate);
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.to_vec()))
    }

    /// A TLS server that shows it.
    pub(crate) fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let key = self.private_key();
        ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that the library knows")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("a key that fits its certificate")
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names as they may be");
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("randomness for a key")
}
