//! What stands around saved bytes so that damage, age and foreignness are seen before a single one is used.
//!
//! ```text
//! "MESHSAVE" · version 4 · SHA-256 of what follows 32 · owner length 2 · owner · item length 1 · item · content
//! ```

use aws_lc_rs::digest;

/// Wraps `content`, which belongs to `owner` under the name `item`.
pub(super) fn seal(owner: &str, item: &str, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(content.len() + owner.len() + item.len() + 8);
    // Owners are fingerprints and items our own short names: both far below these lengths.
    body.extend((owner.len() as u16).to_be_bytes());
    body.extend(owner.as_bytes());
    body.push(item.len() as u8);
    body.extend(item.as_bytes());
    body.extend(content);
    let mut sealed = Vec::with_capacity(body.len() + HEADER_BYTES);
    sealed.extend(MAGIC);
    sealed.extend(VERSION.to_be_bytes());
    sealed.extend(digest::digest(&digest::SHA256, &body).as_ref());
    sealed.extend(body);
    sealed
}

/// Takes the content out again.
pub(super) fn open(owner: &str, item: &str, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let rest = sealed.strip_prefix(MAGIC.as_slice()).ok_or(EnvelopeError::Foreign)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(EnvelopeError::Damaged)?;
    let version = u32::from_be_bytes(*version);
    if version != VERSION {
        return Err(EnvelopeError::Version { version });
    }
    let (checksum, mut body) = rest.split_first_chunk::<32>().ok_or(EnvelopeError::Damaged)?;
    if digest::digest(&digest::SHA256, body).as_ref() != checksum {
        return Err(EnvelopeError::Damaged);
    }
    let length = body.split_off(..2).ok_or(EnvelopeError::Damaged)?;
    let found_owner = body
        .split_off(..usize::from(u16::from_be_bytes([length[0], length[1]])))
        .ok_or(EnvelopeError::Damaged)?;
    let length = body.split_off(..1).ok_or(EnvelopeError::Damaged)?;
    let found_item = body.split_off(..usize::from(length[0])).ok_or(EnvelopeError::Damaged)?;
    if found_owner != owner.as_bytes() || found_item != item.as_bytes() {
        return Err(EnvelopeError::OtherOwner);
    }
    Ok(body.to_vec())
}

/// Why sealed bytes were not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub(super) enum EnvelopeError {
    #[error("it is no saved state of the mesh")]
    Foreign,
    #[error("it has format version {version}, this library reads {VERSION}")]
    Version { version: u32 },
    #[error("it is damaged: the checksum does not match")]
    Damaged,
    #[error("it belongs to another membership")]
    OtherOwner,
}

const MAGIC: &[u8; 8] = b"MESHSAVE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_out_as_it_went_in() {
        for content in [&b""[..], b"x", &[0; 1000]] {
            assert_eq!(open("me", "config", &seal("me", "config", content)).unwrap(), content);
        }
    }

    #[test]
    fn no_damage_goes_unseen() {
        let sealed = seal("me", "config", b"content");
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 0x10;
            assert!(open("me", "config", &damaged).is_err(), "byte {position}");
            assert!(open("me", "config", &sealed[..position]).is_err(), "cut at {position}");
        }
        assert_eq!(open("me", "config", &[&sealed[..], b"x"].concat()), Err(EnvelopeError::Damaged));
    }

    #[test]
    fn another_owner_item_or_version_is_refused_by_name() {
        let sealed = seal("me", "config", b"content");
        assert_eq!(open("you", "config", &sealed), Err(EnvelopeError::OtherOwner));
        assert_eq!(open("me", "identity", &sealed), Err(EnvelopeError::OtherOwner));
        let mut newer = sealed.clone();
        newer[11] = 2;
        assert_eq!(open("me", "config", &newer), Err(EnvelopeError::Version { version: 2 }));
        assert_eq!(open("me", "config", b"{}"), Err(EnvelopeError::Foreign));
    }
}
