//! The controller's certificate: made at first start, kept in the state directory.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, SanType};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// RSA, because clients of the field offer only `ECDHE_RSA` suites up to TLS 1.2.
const KEY_BITS: usize = 2048;

/// A certificate, its key, and the fingerprint by which people know it.
pub struct Identity {
    /// For the listener.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, as `AB:CD:..`.
    pub fingerprint: String,
}

/// Loads `tls.crt` and `tls.key` from the state directory, or makes them.
/// A new one names `listen` among its addresses.
pub fn load_or_make(state_dir: &Path, listen: IpAddr) -> Result<Identity> {
    let (crt, key) = (state_dir.join("tls.crt"), state_dir.join("tls.key"));
    match (crt.exists(), key.exists()) {
        (true, true) => {}
        (false, false) => make(&crt, &key, listen)?,
        (has, _) => {
            let missing = if has { &key } else { &crt };
            anyhow::bail!("`{}` is missing while its counterpart is there", missing.display());
        }
    }
    load(&crt, &key)
}

fn load(crt: &Path, key: &Path) -> Result<Identity> {
    let chain = CertificateDer::pem_file_iter(crt)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate `{}`", crt.display()))?;
    let first =
        chain.first().with_context(|| format!("there is no certificate in `{}`", crt.display()))?;
    let fingerprint = fingerprint(first);
    let key_der = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the key `{}`", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key_der))
        .with_context(|| format!("`{}` and its key do not fit together", crt.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), fingerprint })
}

fn make(crt: &Path, key: &Path, listen: IpAddr) -> Result<()> {
    let rsa = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, KEY_BITS)
        .context("cannot make an RSA key")?;
    let pem = rsa.to_pkcs8_pem(LineEnding::LF).context("cannot write the RSA key")?;
    let der = rsa.to_pkcs8_der().context("cannot write the RSA key")?;
    let der = PrivatePkcs8KeyDer::from(der.as_bytes());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_RSA_SHA256)
        .context("cannot use the RSA key")?;
    let certificate = params(listen)?.self_signed(&pair).context("cannot sign the certificate")?;
    // The key goes first: a certificate without its key would look like a lost key.
    write_private(key, pem.as_bytes())?;
    fs::write(crt, certificate.pem()).with_context(|| format!("cannot write `{}`", crt.display()))
}

/// Ten years, for every name this machine is likely to be called by.
fn params(listen: IpAddr) -> Result<CertificateParams> {
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "selvage controller");
    for name in [Some("localhost".to_owned()), hostname].into_iter().flatten() {
        // A host name that is no DNS name is left out; people connect by address then.
        if let Ok(name) = Ia5String::try_from(name) {
            params.subject_alt_names.push(SanType::DnsName(name));
        }
    }
    let mut addresses = BTreeSet::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    if !listen.is_unspecified() {
        addresses.insert(listen);
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    let year = current_year();
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + 10, 1, 1);
    Ok(params)
}

/// The year by the machine's clock, near enough for the bounds of a certificate.
fn current_year() -> i32 {
    const SECONDS_A_YEAR: u64 = 31_556_952;
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs());
    1970 + i32::try_from(since / SECONDS_A_YEAR).unwrap_or(0)
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    let bytes: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}
