//! Length and checksum around every record of the logs' journal, their stream catalogues and the usage ledger, so that a torn end is seen.
//!
//! A frame is `len: u32`, `crc32: u32` (over the length and the payload), payload; little endian.

const HEADER: usize = 8;
/// Far above the largest record (one put is at most 1 MiB of text), so that a garbage length is not trusted.
const MAX_PAYLOAD: usize = 64 << 20;

/// Appends one framed `payload`. Payloads are never empty.
pub(crate) fn push(out: &mut Vec<u8>, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("records are bounded far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&checksum(len, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Walks the whole frames of `bytes` and stops for good at the first that is torn or damaged.
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    good: usize,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Frames { bytes, good: 0 }
    }

    /// Offset just behind the last whole frame seen so far: where a file is cut and written on.
    pub(crate) fn good(&self) -> usize {
        self.good
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.good..)?;
        let len = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
        let crc = u32::from_le_bytes(rest.get(4..HEADER)?.try_into().ok()?);
        let size = len as usize;
        if size == 0 || size > MAX_PAYLOAD {
            return None;
        }
        let payload = rest.get(HEADER..HEADER + size)?;
        if checksum(len, payload) != crc {
            return None;
        }
        self.good += HEADER + size;
        Some(payload)
    }
}

/// Whether whole frames follow somewhere behind `at`, where one is not whole: then that is no torn end but damage, and
/// what follows was answered once.
pub(crate) fn resumes(bytes: &[u8], at: usize) -> bool {
    let rest = at.saturating_add(1)..bytes.len();
    rest.into_iter().any(|from| Frames::new(&bytes[from..]).next().is_some())
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_at_the_torn_or_flipped_frame() {
        let mut bytes = Vec::new();
        push(&mut bytes, b"one");
        push(&mut bytes, b"two");
        let whole = bytes.len();
        for cut in 0..=whole {
            let mut frames = Frames::new(&bytes[..cut]);
            let seen = frames.by_ref().count();
            assert_eq!(seen, cut / (whole / 2), "cut at {cut}");
            assert_eq!(frames.good(), seen * whole / 2);
        }
        for at in 0..whole {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            let count = usize::from(at >= whole / 2);
            assert_eq!(Frames::new(&flipped).count(), count, "flip at {at}");
            assert_eq!(resumes(&flipped, count * whole / 2), at < whole / 2, "flip at {at}");
        }
        for cut in 0..whole / 2 {
            assert!(!resumes(&bytes[..cut], 0), "what is torn at {cut} goes on nowhere");
        }
        assert_eq!(Frames::new(&[0; 64]).count(), 0, "zeros are no frames");
    }
}
