//! Directories, and the file that says how to reach this controller.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::password::PASSWORD_FILE;
use crate::exit::{Failure, Kind};

/// Makes a directory that only its owner may enter, and those above it; one that is there is left
/// as it is.
pub fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let failure =
            Failure::new(Kind::Failed, format!("cannot make `{}`: {error}", dir.display()));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                failure.hint("run as root, or choose a directory you may write")
            }
            _ => failure,
        }
    })
}

/// How to reach a running controller: the content of `controller.json`.
#[derive(Serialize)]
pub struct Reach {
    /// The REST API.
    url: String,
    /// The OpFlex listener, `host:port`.
    opflex: String,
    /// SHA-256 of the certificate.
    fingerprint: String,
    /// The certificate.
    certificate: PathBuf,
    /// The administrator's password, if the file was not removed.
    password_file: PathBuf,
    /// The process.
    pid: u32,
}

/// `controller.json`, removed when this is dropped.
pub struct Written(PathBuf);

impl Drop for Written {
    fn drop(&mut self) {
        // It is in a directory of run-time files, and names a process that is gone.
        let _ = fs::remove_file(&self.0);
    }
}

impl Reach {
    /// Asks the listeners where they are.
    pub fn new(
        state_dir: &Path,
        rest: &TcpListener,
        opflex: &TcpListener,
        fingerprint: &str,
    ) -> Result<Reach> {
        let state_dir = state_dir.canonicalize().context("cannot find the state directory")?;
        Ok(Reach {
            url: format!("https://{}", rest.local_addr()?),
            opflex: opflex.local_addr()?.to_string(),
            fingerprint: fingerprint.to_owned(),
            certificate: state_dir.join("tls.crt"),
            password_file: state_dir.join(PASSWORD_FILE),
            pid: std::process::id(),
        })
    }

    /// Writes `controller.json` into `dir`, whole or not at all.
    pub fn write(&self, dir: &Path) -> Result<Written, Failure> {
        let made = fs::create_dir_all(dir);
        made.with_context(|| format!("cannot make `{}`", dir.display()))?;
        let path = dir.join("controller.json");
        let draft = dir.join(format!(".controller.json.{}", self.pid));
        let text = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        let write = || -> io::Result<()> {
            fs::write(&draft, text + "\n")?;
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o644))?;
            fs::rename(&draft, &path)
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Written(path))
    }

    /// Says on standard error that the controller is ready, and how to reach it.
    pub fn announce(&self, is_new: bool) {
        if is_new {
            let file = self.password_file.display();
            tracing::info!(user = super::password::ADMIN, %file, "made a password");
        }
        tracing::info!(sha256 = self.fingerprint, "certificate");
        tracing::info!(url = self.url, opflex = self.opflex, "ready");
    }
}
