//! Makes the certificates of one run: an authority that signs those of servers and clients, an authority that no one
//! trusts, and an expired certificate.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameRef};

const DAY_S: i64 = 24 * 3_600;

/// The files, in PEM format.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

/// An authority that can sign.
struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

impl Certificates {
    /// Writes all certificates into a folder.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let trusted = Authority::new("Interlock test authority")?;
        let certificates = Self {
            folder: folder.to_owned(),
        };
        std::fs::write(certificates.ca(), trusted.certificate.to_pem()?)?;
        std::fs::write(
            certificates.other_ca(),
            Authority::new("another authority")?.certificate.to_pem()?,
        )?;
        trusted.sign("server", (-DAY_S, DAY_S), folder)?;
        trusted.sign("expired", (-2 * DAY_S, -DAY_S), folder)?;
        trusted.sign("operator", (-DAY_S, DAY_S), folder)?;
        Ok(certificates)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the file with the authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Returns the file with the certificate of an authority that signed nothing here.
    pub fn other_ca(&self) -> PathBuf {
        self.path("other-ca.pem")
    }

    /// Returns the file with a certificate.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.crt"))
    }

    /// Returns the file with its key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.key"))
    }

    /// Returns the file with both, as Kafka needs them.
    pub(super) fn both(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }
}

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let key = new_key()?;
        let name = common_name(name)?;
        let certificate = build(&name, &name, &key, &key, (-2 * DAY_S, DAY_S), |builder| {
            let constraints = BasicConstraints::new().critical().ca().build()?;
            builder.append_extension(constraints)?;
            Ok(())
        })?;
        Ok(Self { certificate, key })
    }

    /// Writes a certificate for this machine. `valid` has its begin and end in seconds from now.
    fn sign(&self, name: &str, valid: (i64, i64), folder: &Path) -> Result<()> {
        let key = new_key()?;
        let issuer = self.certificate.subject_name();
        let certificate = build(issuer, &*common_name(name)?, &key, &self.key, valid, |builder| {
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let names = SubjectAlternativeName::new()
                .dns("localhost")
                .ip("127.0.0.1")
                .build(&context)?;
            builder.append_extension(names)?;
            Ok(())
        })?;
        let (key, certificate) = (key.private_key_to_pem_pkcs8()?, certificate.to_pem()?);
        std::fs::write(
            folder.join(format!("{name}.pem")),
            [&key[..], &certificate[..]].concat(),
        )?;
        std::fs::write(folder.join(format!("{name}.crt")), certificate)?;
        std::fs::write(folder.join(format!("{name}.key")), key)?;
        Ok(())
    }
}

fn new_key() -> Result<PKey<Private>> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

fn common_name(name: &str) -> Result<X509Name> {
    let mut builder = X509Name::builder()?;
    builder.append_entry_by_text("CN", name)?;
    Ok(builder.build())
}

fn build(
    issuer: &X509NameRef,
    subject: &X509NameRef,
    key: &PKey<Private>,
    signed_by: &PKey<Private>,
    (from, to): (i64, i64),
    extend: impl FnOnce(&mut openssl::x509::X509Builder) -> Result<()>,
) -> Result<X509> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().context("the clock")?;
    let now = i64::try_from(now.as_secs())?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_issuer_name(issuer)?;
    builder.set_subject_name(subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(now + from)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(now + to)?)?;
    extend(&mut builder)?;
    builder.sign(signed_by, MessageDigest::sha256())?;
    Ok(builder.build())
}
