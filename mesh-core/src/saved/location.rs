//! Where the saved state of a membership lies: decided from the environment alone, so that a restart finds it again.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Whether state is saved, and under which directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateLocation {
    /// `MESH_STATE=off`, or no directory is known: nothing is read or written.
    Off,
    /// Below this directory.
    Directory(PathBuf),
}

/// `MESH_STATE` says neither that state is to be saved nor that it is not: what was meant is not guessed, since one of the two
/// writes a private key to disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MESH_STATE={value} is not known: write `off` to save nothing, `on` or nothing to save")]
pub struct StateLocationError {
    value: String,
}

impl StateLocation {
    /// `MESH_STATE=off`, else `MESH_STATE_DIR`, else `$XDG_STATE_HOME/mesh`, else `$HOME/.local/state/mesh`, else off.
    ///
    /// # Errors
    /// When `MESH_STATE` is neither `on` nor `off`, in whatever case.
    pub fn from_env() -> Result<Self, StateLocationError> {
        Self::from_values(|name| env::var_os(name))
    }

    fn from_values(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, StateLocationError> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match set("MESH_STATE") {
            Some(value) if value.eq_ignore_ascii_case("off") => return Ok(Self::Off),
            Some(value) if !value.eq_ignore_ascii_case("on") => {
                return Err(StateLocationError { value: value.to_string_lossy().into_owned() });
            }
            _ => {}
        }
        if let Some(directory) = set("MESH_STATE_DIR") {
            return Ok(Self::Directory(directory.into()));
        }
        // The XDG rules: a relative path there is to be ignored.
        let absolute = |name| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || absolute("HOME").map(|home| home.join(".local/state"));
        Ok(match absolute("XDG_STATE_HOME").or_else(home) {
            Some(base) => Self::Directory(base.join("mesh")),
            None => Self::Off,
        })
    }
}

/// The directory of one slot of a membership: several processes with one join string have a slot each.
pub(super) fn slot_directory(base: &Path, owner: &str, slot: usize) -> PathBuf {
    base.join(owner).join(slot.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides() {
        fn check(values: &[(&str, &str)], expected: Option<&str>) {
            let variable =
                |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            let expected = match expected {
                Some(path) => StateLocation::Directory(path.into()),
                None => StateLocation::Off,
            };
            assert_eq!(StateLocation::from_values(variable), Ok(expected), "{values:?}");
        }
        let home = ("HOME", "/home/me");
        check(&[("MESH_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x"), home], Some("/s"));
        check(&[("XDG_STATE_HOME", "/x"), home], Some("/x/mesh"));
        check(&[("XDG_STATE_HOME", "x"), home], Some("/home/me/.local/state/mesh"));
        check(&[("MESH_STATE_DIR", ""), ("XDG_STATE_HOME", ""), home], Some("/home/me/.local/state/mesh"));
        check(&[("MESH_STATE", "off"), ("MESH_STATE_DIR", "/s")], None);
        check(&[("MESH_STATE", "Off"), home], None);
        check(&[("MESH_STATE", "on"), home], Some("/home/me/.local/state/mesh"));
        check(&[("MESH_STATE", ""), home], Some("/home/me/.local/state/mesh"));
        check(&[], None);
    }

    #[test]
    fn a_word_that_is_neither_on_nor_off_is_refused_by_name() {
        for word in ["nope", "0", "false", "disabled"] {
            let refused = StateLocation::from_values(|name| (name == "MESH_STATE").then(|| word.into()));
            let refused = refused.expect_err(word).to_string();
            assert!(
                refused.contains(&format!("MESH_STATE={word}")) && refused.contains("`off`"),
                "{refused}"
            );
        }
    }
}
