//! SipHash-2-4: one number per key and salt, the same in every process, on every machine and in every version of ours.
//!
//! The standard library has it too, but promises no algorithm, and what a fleet agrees on must not change with a compiler.

/// The function under one 128-bit key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SipHash(u64, u64);

impl SipHash {
    pub(crate) const fn new(first: u64, second: u64) -> Self {
        Self(first, second)
    }

    /// The function that a text names: different texts make functions that know nothing of each other.
    pub(super) fn named(text: &str) -> Self {
        Self(Self(0, 1).hash(text.as_bytes()), Self(0, 2).hash(text.as_bytes()))
    }

    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        let mut state = State([
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.take(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length stands in the top byte, modulo 256.
        last[7] = bytes.len() as u8;
        state.take(u64::from_le_bytes(last));
        state.finish()
    }
}

struct State([u64; 4]);

impl State {
    fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the function's authors: the key is 00 01 … 0f, the input 00 01 … of each length.
    #[test]
    fn the_authors_vectors_hold() {
        let hash = SipHash::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        let input: Vec<u8> = (0..64).collect();
        let check = |length: usize, expected: u64| assert_eq!(hash.hash(&input[..length]), expected);
        check(0, 0x726f_db47_dd0e_0e31);
        check(1, 0x74f8_39c5_93dc_67fd);
        check(7, 0xab02_00f5_8b01_d137);
        check(8, 0x93f5_f579_9a93_2462);
        check(15, 0xa129_ca61_49be_45e5);
    }
}
