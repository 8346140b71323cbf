//! Where a process finds its join string: `MESH_JOIN`, or the file that `MESH_JOIN_FILE` names.

use std::{env, fs, io, path::PathBuf};

use super::string::{JoinString, JoinStringError};

/// Whether to join a mesh, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinSource {
    /// `MESH_JOIN=off`: run without a mesh.
    Off,
    /// Join this one.
    Join(JoinString),
}

impl JoinSource {
    /// Reads the environment.
    ///
    /// # Errors
    /// When nothing is set, both are, or what is set is no join string; each says the next step.
    pub fn from_env() -> Result<Self, JoinSourceError> {
        let variable = |name| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::from_values(variable(JOIN), variable(JOIN_FILE), |path| fs::read_to_string(path))
    }

    /// What `MESH_JOIN` may hold: a join string, or `off` in whatever case.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, JoinStringError> {
        if text.trim().eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        JoinString::parse(text).map(Self::Join)
    }

    fn from_values(
        join: Option<String>,
        file: Option<String>,
        read: impl FnOnce(&PathBuf) -> io::Result<String>,
    ) -> Result<Self, JoinSourceError> {
        let set = |value: Option<String>| value.filter(|value| !value.trim().is_empty());
        match (set(join), set(file)) {
            (None, None) => Err(JoinSourceError::Unset),
            (Some(join), file) => match (Self::parse(&join), file) {
                (Ok(Self::Off), _) => Ok(Self::Off),
                (_, Some(_)) => Err(JoinSourceError::Both),
                (parsed, None) => parsed.map_err(|source| JoinSourceError::Variable { source }),
            },
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                let text = match read(&path) {
                    Ok(text) => text,
                    Err(source) => return Err(JoinSourceError::Unreadable { path, source }),
                };
                match JoinString::parse(&text) {
                    Ok(join) => Ok(Self::Join(join)),
                    Err(source) => Err(JoinSourceError::File { path, source }),
                }
            }
        }
    }
}

/// Why there is no join string.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JoinSourceError {
    #[error(
        "neither MESH_JOIN nor MESH_JOIN_FILE is set: run `mesh token create --service NAME:PORT` where the control \
         plane runs and put the line it prints into MESH_JOIN, or set MESH_JOIN=off to run without a mesh"
    )]
    Unset,
    #[error("both MESH_JOIN and MESH_JOIN_FILE are set: unset one of them")]
    Both,
    #[error("MESH_JOIN: {source}")]
    Variable { source: JoinStringError },
    #[error("MESH_JOIN_FILE: {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("MESH_JOIN_FILE: {}: {source}", path.display())]
    File { path: PathBuf, source: JoinStringError },
}

const JOIN: &str = "MESH_JOIN";
const JOIN_FILE: &str = "MESH_JOIN_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    fn source(join: Option<&str>, file: Option<&str>, content: &str) -> Result<JoinSource, JoinSourceError> {
        let read = |path: &PathBuf| match path.to_str() {
            Some("there") => Ok(content.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        JoinSource::from_values(join.map(Into::into), file.map(Into::into), read)
    }

    fn line() -> String {
        use crate::{
            identity::{RootFingerprint, TrustDomain},
            join::{ControlPlaneAddress, JoinToken, TokenId, TokenSecret},
        };
        let join = JoinString {
            addresses: vec![ControlPlaneAddress::parse("127.0.0.1:15012").unwrap()],
            root: RootFingerprint([1; 32]),
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            token: JoinToken { id: TokenId::parse("t").unwrap(), secret: TokenSecret([2; 32]) },
        };
        join.encode().unwrap()
    }

    #[test]
    fn the_variable_the_file_and_off_are_understood() {
        let line = line();
        let joined = JoinSource::Join(JoinString::parse(&line).unwrap());
        assert_eq!(source(Some(&line), None, "").unwrap(), joined);
        assert_eq!(source(None, Some("there"), &format!("{line}\n")).unwrap(), joined);
        assert_eq!(source(Some(""), Some("there"), &line).unwrap(), joined);
        assert_eq!(source(Some("off"), None, "").unwrap(), JoinSource::Off);
        assert_eq!(source(Some(" OFF\n"), None, "").unwrap(), JoinSource::Off);
        assert_eq!(source(Some("off"), Some("there"), "").unwrap(), JoinSource::Off);
    }

    #[test]
    fn refusals_say_the_next_step() {
        let check = |join: Option<&str>, file: Option<&str>, expected: &str| {
            let error = source(join, file, "nonsense").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(None, None, "mesh token create --service NAME:PORT");
        check(Some(" "), None, "MESH_JOIN=off");
        check(Some("mesh1.x"), Some("there"), "unset one");
        check(Some("mesh1.x"), None, "copy the whole line");
        check(None, Some("gone"), "gone cannot be read");
        check(None, Some("there"), "there: this is not a join string");
    }
}
