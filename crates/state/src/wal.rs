//! Looks at SQLite's write-ahead log before SQLite does.
//!
//! SQLite takes the log up to the first frame whose checksum is wrong and silently drops the rest: right for a last write that a crash
//! tore, but a damaged frame in the middle takes acknowledged commits with it. Every commit is synced before the next
//! begins, so behind a torn frame there can be the end of at most one commit. If there are more, data was lost, and we say so.
//! Source: SQLite's documented file format, "WAL File Format".

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Tells what is lost in the log beside the database `file`, if anything is.
pub(crate) fn check(file: &Path) -> Result<(), String> {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    let log = match File::open(&name) {
        Ok(log) => log,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("its log can not be read: {e}")),
    };
    scan(BufReader::with_capacity(1 << 16, log)).map_err(|e| format!("its log can not be read: {e}"))?
}

fn scan(mut log: impl Read) -> std::io::Result<Result<(), String>> {
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(Ok(())); // Never written: a log is synced with its header before its first frame.
    }
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let big_endian = match word(&header, 0) {
        0x377f_0682 => false,
        0x377f_0683 => true,
        _ => return Ok(Err("the header of its log is damaged".to_owned())),
    };
    let mut sum = checksum(big_endian, (0, 0), &header[..24]);
    if sum != (word(&header, 24), word(&header, 28)) {
        return Ok(Err("the header of its log is damaged".to_owned()));
    }
    let page = word(&header, 8) as usize;
    if !(512..=65536).contains(&page) {
        return Ok(Err("the header of its log is damaged".to_owned()));
    }
    let mut frame = vec![0; FRAME_HEADER + page];
    let (mut good, mut frames, mut commits_behind) = (true, 0_u64, 0_u64);
    while fill(&mut log, &mut frame)? {
        let ours = frame[8..16] == header[16..24];
        if good {
            let next = checksum(big_endian, checksum(big_endian, sum, &frame[..8]), &frame[FRAME_HEADER..]);
            good = ours && next == (word(&frame, 16), word(&frame, 20));
            if good {
                sum = next;
                frames += 1;
            }
        }
        if !good && ours && word(&frame, 4) != 0 {
            commits_behind += 1;
        }
    }
    if commits_behind > 1 {
        let what = format!("its log is damaged behind frame {frames}, and {commits_behind} commits follow the damage");
        return Ok(Err(what));
    }
    Ok(Ok(()))
}

/// Fills the buffer; false at the end, also in the middle of it.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn checksum(big_endian: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        a = a.wrapping_add(word(0)).wrapping_add(b);
        b = b.wrapping_add(word(4)).wrapping_add(a);
    }
    (a, b)
}
