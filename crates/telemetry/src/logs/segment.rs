//! Where events rest: per stream, files of compressed blocks.
//!
//! A block is a 44-byte header and a zstd frame. A sealed segment ends with an index of its blocks, so that opening it costs
//! one read; in the one still growing the headers are walked. How much of a segment counts is written in the stream's
//! catalogue record ([`SegmentMeta::len`]), never guessed from the file: bytes behind it are an interrupted flush and are
//! overwritten by the next.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::codec::{self, Chunk, EVENT_OVERHEAD, Reader, StoredEvent};
use super::frame::{self, Frames};
use super::types::Limits;

const MAGIC: u32 = u32::from_le_bytes(*b"LSB1");
const HEADER: usize = 44;
/// zstd's default: about a tenth of the text at several hundred MB/s.
const LEVEL: i32 = 3;
/// A block never unpacks to more: one event of 1 MiB over a full block, with room for its times.
const MAX_RAW: u32 = 16 << 20;

/// What the catalogue knows of one segment file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentMeta {
    /// Sequence number of its first event, which no other segment of the stream ever has.
    pub(super) no: u64,
    /// Bytes of blocks that count.
    pub(super) len: u64,
    pub(super) min: i64,
    pub(super) max: i64,
    /// Text in it, as `stored_bytes` counts.
    pub(super) bytes: u64,
    /// Set once sealed: the index begins at `len`.
    #[serde(default)]
    pub(super) sealed: bool,
}

/// Where a block is and what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockRef {
    pub(super) at: u64,
    pub(super) packed: u32,
    pub(super) raw: u32,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    pub(super) min: i64,
    pub(super) max: i64,
}

pub(super) fn path(dir: &Path, stream: u64, no: u64) -> PathBuf {
    dir.join(format!("{stream}-{no}.seg"))
}

/// Who makes a flush durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// The flush itself, file by file.
    Here,
    /// The caller, with one sync of the file system after many flushes.
    Later,
}

/// Appends `chunks` as blocks to the stream's last segment, sealing and opening segments as limits ask, and syncs.
/// Returns the stream's segments as they are now; the caller publishes that, or forgets it and nothing has happened.
pub(super) fn flush(
    dir: &Path,
    stream: u64,
    segments: &[SegmentMeta],
    chunks: &[Arc<Chunk>],
    limits: &Limits,
    sync: Sync,
) -> io::Result<Vec<SegmentMeta>> {
    let mut segments = segments.to_vec();
    let mut open: Option<File> = None;
    for (first_seq, events) in blocks(chunks, limits) {
        let (min, max) = span(&events);
        let bytes = text_bytes(&events);
        if segments.last().is_some_and(|last| is_full(last, min, max, limits)) {
            let last = segments.last_mut().expect("just seen");
            settle(open.take(), sync)?;
            if !last.sealed {
                seal(dir, stream, last, sync)?;
            }
        }
        if segments.last().is_none_or(|last| last.sealed) {
            segments.push(SegmentMeta { no: first_seq, len: 0, min, max, bytes: 0, sealed: false });
        }
        let last = segments.last_mut().expect("just ensured");
        if open.is_none() {
            open = Some(open_for_append(dir, stream, last)?);
        }
        let file = open.as_ref().expect("just opened");
        let block = pack(first_seq, &events);
        file.write_all_at(&block, last.len)?;
        last.len += block.len() as u64;
        (last.min, last.max) = (last.min.min(min), last.max.max(max));
        last.bytes += bytes;
    }
    settle(open, sync)?;
    Ok(segments)
}

fn settle(file: Option<File>, sync: Sync) -> io::Result<()> {
    match (file, sync) {
        (Some(file), Sync::Here) => file.sync_data(),
        (Some(_), Sync::Later) | (None, Sync::Here | Sync::Later) => Ok(()),
    }
}

fn is_full(segment: &SegmentMeta, min: i64, max: i64, limits: &Limits) -> bool {
    let span = segment.max.max(max).saturating_sub(segment.min.min(min));
    segment.sealed || segment.len >= limits.segment_bytes || span > limits.segment_span_millis
}

fn open_for_append(dir: &Path, stream: u64, segment: &SegmentMeta) -> io::Result<File> {
    let path = path(dir, stream, segment.no);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.set_len(segment.len)?;
    Ok(file)
}

/// Writes the index behind the blocks. Sealing again after a crash writes the same bytes again.
fn seal(dir: &Path, stream: u64, segment: &mut SegmentMeta, sync: Sync) -> io::Result<()> {
    let blocks = walk(&path(dir, stream, segment.no), segment.len)?;
    let mut packed = Vec::new();
    for block in &blocks {
        for value in [block.at, block.packed.into(), block.raw.into(), block.first_seq, block.count.into()] {
            codec::put_u64(&mut packed, value);
        }
        codec::put_i64(&mut packed, block.min);
        codec::put_i64(&mut packed, block.max);
    }
    let mut footer = Vec::new();
    frame::push(&mut footer, &packed);
    let file = open_for_append(dir, stream, segment)?;
    file.write_all_at(&footer, segment.len)?;
    settle(Some(file), sync)?;
    segment.sealed = true;
    Ok(())
}

/// Groups events into blocks of about `block_bytes` of text that no segment is too short for, without copying the text.
fn blocks<'c>(chunks: &'c [Arc<Chunk>], limits: &Limits) -> Vec<(u64, Vec<&'c StoredEvent>)> {
    let mut blocks: Vec<(u64, Vec<&StoredEvent>)> = Vec::new();
    let (mut size, mut next, mut min, mut max) = (0, 0, i64::MAX, i64::MIN);
    for chunk in chunks {
        for (seq, event) in (chunk.first_seq..).zip(&chunk.events) {
            (min, max) = (min.min(event.timestamp), max.max(event.timestamp));
            let fits = size < limits.block_bytes && max.saturating_sub(min) <= limits.segment_span_millis;
            if blocks.is_empty() || !fits || next != seq {
                blocks.push((seq, Vec::new()));
                (size, min, max) = (0, event.timestamp, event.timestamp);
            }
            blocks.last_mut().expect("just pushed").1.push(event);
            size += event.message.len() + EVENT_OVERHEAD;
            next = seq + 1;
        }
    }
    blocks
}

fn span(events: &[&StoredEvent]) -> (i64, i64) {
    let min = events.iter().map(|event| event.timestamp).min().unwrap_or(0);
    let max = events.iter().map(|event| event.timestamp).max().unwrap_or(0);
    (min, max)
}

fn text_bytes(events: &[&StoredEvent]) -> u64 {
    events.iter().map(|event| (event.message.len() + EVENT_OVERHEAD) as u64).sum()
}

fn pack(first_seq: u64, events: &[&StoredEvent]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(events.iter().map(|event| event.message.len() + 8).sum());
    codec::put_events(&mut raw, events.iter().copied());
    let packed = zstd::bulk::compress(&raw, LEVEL).expect("zstd compresses any bytes into its own buffer");
    let (min, max) = span(events);
    let mut block = Vec::with_capacity(HEADER + packed.len());
    block.extend_from_slice(&MAGIC.to_le_bytes());
    block.extend_from_slice(&[0; 4]);
    block.extend_from_slice(&first_seq.to_le_bytes());
    block.extend_from_slice(&(events.len() as u32).to_le_bytes());
    block.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    block.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    block.extend_from_slice(&min.to_le_bytes());
    block.extend_from_slice(&max.to_le_bytes());
    block.extend_from_slice(&packed);
    let crc = crc32fast::hash(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
    block
}

fn parse_header(at: u64, header: &[u8; HEADER]) -> io::Result<BlockRef> {
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if u32_at(0) != MAGIC || u32_at(20) > MAX_RAW {
        return Err(damaged("not a block"));
    }
    Ok(BlockRef {
        at,
        first_seq: u64_at(8),
        count: u32_at(16),
        raw: u32_at(20),
        packed: u32_at(24),
        min: u64_at(28) as i64,
        max: u64_at(36) as i64,
    })
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// The blocks of a segment, from its index when it has one.
pub(super) fn index(dir: &Path, stream: u64, segment: &SegmentMeta) -> io::Result<Vec<BlockRef>> {
    let path = path(dir, stream, segment.no);
    if segment.sealed
        && let Some(blocks) = read_footer(&path, segment.len)?
    {
        return Ok(blocks);
    }
    walk(&path, segment.len)
}

/// `None` when the index is unreadable, which costs a walk and loses nothing.
fn read_footer(path: &Path, at: u64) -> io::Result<Option<Vec<BlockRef>>> {
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len().saturating_sub(at)).unwrap_or(0)];
    file.read_exact_at(&mut bytes, at)?;
    let Some(packed) = Frames::new(&bytes).next() else { return Ok(None) };
    let mut reader = Reader::new(packed);
    let mut blocks = Vec::new();
    while !reader.is_empty() {
        let Some(block) = read_ref(&mut reader) else { return Ok(None) };
        blocks.push(block);
    }
    Ok(Some(blocks))
}

fn read_ref(reader: &mut Reader<'_>) -> Option<BlockRef> {
    Some(BlockRef {
        at: reader.u64()?,
        packed: reader.u64()?.try_into().ok()?,
        raw: reader.u64()?.try_into().ok()?,
        first_seq: reader.u64()?,
        count: reader.u64()?.try_into().ok()?,
        min: reader.i64()?,
        max: reader.i64()?,
    })
}

fn walk(path: &Path, len: u64) -> io::Result<Vec<BlockRef>> {
    let file = File::open(path)?;
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < len {
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, at)?;
        let block = parse_header(at, &header)?;
        at += HEADER as u64 + u64::from(block.packed);
        blocks.push(block);
    }
    Ok(blocks)
}

/// Reads and unpacks one block, checking every byte of it.
pub(super) fn read(path: &Path, block: &BlockRef) -> io::Result<Chunk> {
    let mut bytes = vec![0; HEADER + block.packed as usize];
    File::open(path)?.read_exact_at(&mut bytes, block.at)?;
    let header = bytes[..HEADER].try_into().expect("read just that much");
    if parse_header(block.at, header)? != *block {
        return Err(damaged("the block is not the one indexed"));
    }
    if crc32fast::hash(&bytes[8..]).to_le_bytes() != bytes[4..8] {
        return Err(damaged("the block's checksum is wrong"));
    }
    let raw = zstd::bulk::decompress(&bytes[HEADER..], block.raw as usize)?;
    let mut reader = Reader::new(&raw);
    let events = reader.events(block.count.into()).filter(|_| reader.is_empty());
    Ok(Chunk::new(block.first_seq, events.ok_or_else(|| damaged("malformed events"))?))
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
