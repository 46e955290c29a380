//! The administrator's password: made at first start, kept as a hash.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use ring::rand::{SecureRandom, SystemRandom};

use super::tls::write_private;

/// The user that exists from the start.
pub const ADMIN: &str = "admin";
/// Where its password is written for whoever installs this; it may be deleted after reading.
pub const PASSWORD_FILE: &str = "admin.password";
/// What is kept of it.
pub const HASH_FILE: &str = "admin.hash";

/// Letters and digits that nobody mistakes for another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// Checks passwords.
pub struct Gate {
    hash: String,
}

impl Gate {
    /// Loads the hash from the state directory, or makes a password.
    pub fn load_or_make(state_dir: &Path) -> Result<Gate> {
        let path = state_dir.join(HASH_FILE);
        let hash = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(state_dir, &path)?,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
            }
        };
        PasswordHash::new(&hash)
            .map_err(|error| anyhow!("`{}` holds no password hash: {error}", path.display()))?;
        Ok(Gate { hash })
    }

    /// Whether this is the password of this user. Takes as long for a user that does not exist.
    pub fn admits(&self, user: &str, password: &str) -> bool {
        let Ok(hash) = PasswordHash::new(&self.hash) else { return false };
        let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        fits & (user == ADMIN)
    }
}

/// Makes the password, and writes it before its hash: a start that was cut short between the two
/// makes another password, rather than leave a hash of one that nobody knows.
fn make(state_dir: &Path, hash_path: &Path) -> Result<String> {
    let random = SystemRandom::new();
    let password: String = random_bytes::<20>(&random)?
        .iter()
        .map(|byte| char::from(ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or(b'x')))
        .collect();
    let salt = SaltString::encode_b64(&random_bytes::<16>(&random)?)
        .map_err(|error| anyhow!("cannot make a salt: {error}"))?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("cannot hash the password: {error}"))?
        .to_string();
    write_private(&state_dir.join(PASSWORD_FILE), format!("{password}\n").as_bytes())?;
    write_private(hash_path, format!("{hash}\n").as_bytes())?;
    Ok(hash)
}

/// A session token: 256 random bits in hexadecimal.
pub fn token() -> Result<String> {
    let bytes = random_bytes::<32>(&SystemRandom::new())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random_bytes<const N: usize>(random: &SystemRandom) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| anyhow!("the system has no randomness"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_that_was_made_is_the_one_that_is_admitted() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::load_or_make(dir.path()).unwrap();
        let password = std::fs::read_to_string(dir.path().join(PASSWORD_FILE)).unwrap();
        let password = password.trim();
        assert!(password.len() == 20 && gate.admits(ADMIN, password));
        assert!(!gate.admits(ADMIN, "wrong") && !gate.admits("root", password));
        let again = Gate::load_or_make(dir.path()).unwrap();
        assert!(again.admits(ADMIN, password));
    }
}
