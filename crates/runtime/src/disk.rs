//! Disks of a size: a file of its own file system for whatever shares it, so that who fills it fills only that.
//!
//! The file is sparse, so that it takes of the machine what is written, and is mounted over a loop device that the kernel lets
//! go by itself with the last use. Every step may be repeated, and what a killed process has left is found by its name. Neutral:
//! nothing here knows of containers (docs/decisions/0024).

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::SeekFrom;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::oci_runtime::{is_program, program_path};

/// No journal, because nothing on it outlives the machine's next start; no room that only root may use; no copies of the
/// superblock; and what may be empty is left to be empty, so that a disk of any size is made in milliseconds.
const FORMAT: [&str; 9] = [
    "-q",
    "-F",
    "-m",
    "0",
    "-O",
    "^has_journal,^resize_inode,sparse_super2",
    "-E",
    "lazy_itable_init=1,nodiscard,num_backup_sb=0",
    "--",
];
/// The file is empty where nothing was written, so the kernel need not write zeros into it; what is deleted is given back to
/// the machine at once; and nothing has to survive the machine, so that nobody waits for its disk.
const MOUNT_DATA: &std::ffi::CStr = c"noinit_itable,discard,errors=remount-ro,nobarrier";
/// Sizes whose empty file system is kept in memory, some hundred kilobytes each. Most tasks have the same.
const TEMPLATES: usize = 8;
/// Of an empty file system. A larger one is a file that was not kept sparse.
const LARGEST_PIECE: u64 = 16 << 20;
const PROGRAM: &str = "mkfs.ext4";
const CONTROL: &str = "/dev/loop-control";
/// Who asks for a free loop device may find it taken by another one who asked at the same time, as often as there are such.
const TRIES: u32 = 100;

/// Why disks cannot be made on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// What formats them is not there.
    #[error("mkfs.ext4 is not installed; install the package e2fsprogs (apt-get install e2fsprogs)")]
    NoProgram,
    /// The kernel has no loop devices, or they are not shown to us.
    #[error(
        "/dev/loop-control is not there; load the kernel's module (modprobe loop), or show the device to this container"
    )]
    NoLoop,
}

/// What a disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes written.
    pub used: u64,
    /// Bytes that fit.
    pub size: u64,
}

/// The disks in one folder: of each the file, and beside it the folder at which it is mounted.
#[derive(Debug, Clone)]
pub struct Disks {
    dir: PathBuf,
    /// By size, what is not empty of an empty file system.
    templates: Arc<Mutex<HashMap<u64, Arc<Template>>>>,
}

/// Pieces of a file, and where they belong.
type Template = Vec<(u64, Vec<u8>)>;

impl Disks {
    /// Those in this folder, which is made with the first.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), templates: Arc::default() }
    }

    /// Whether any can be made here.
    ///
    /// # Errors
    /// If not; says what is missing.
    pub fn check() -> Result<(), DiskError> {
        if !Path::new(CONTROL).exists() {
            return Err(DiskError::NoLoop);
        }
        let path = program_path();
        if std::env::split_paths(&path).any(|dir| is_program(&dir.join(PROGRAM))) {
            return Ok(());
        }
        Err(DiskError::NoProgram)
    }

    /// Where the disk of that name is mounted.
    #[must_use]
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.ext4"))
    }

    /// Makes a disk of so many bytes, and answers where it is. One that is mounted is left as it is; one that is not is nobody's,
    /// and is made anew. Blocks; one call at a time for each name.
    ///
    /// # Errors
    /// Of the machine.
    pub fn ensure(&self, name: &str, bytes: u64) -> io::Result<PathBuf> {
        let at = self.at(name);
        if is_mounted(&at)? {
            return Ok(at);
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&at)?;
        let template = self.template(bytes)?;
        let file = empty(&self.file(name), bytes)?;
        warn_if_scarce(&file, name, bytes);
        for (offset, piece) in &*template {
            file.write_all_at(piece, *offset)?;
        }
        let device = attach(&file)?;
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
        mount(&device.path, &at, c"ext4", flags, MOUNT_DATA)?;
        Ok(at)
    }

    /// An empty file system of that size. Formatted once, because writing the same again takes a fiftieth of the time.
    fn template(&self, bytes: u64) -> io::Result<Arc<Template>> {
        // Held meanwhile: those who want the same wait for it.
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = templates.get(&bytes) {
            return Ok(known.clone());
        }
        // Named like a disk, so that what a killed process leaves of it is found as one.
        let path = self.file(&format!("template-{bytes}"));
        let file = empty(&path, bytes)?;
        let read = format(&path).and_then(|()| pieces(&file));
        absent(fs::remove_file(&path))?;
        let template = Arc::new(read?);
        if templates.len() >= TEMPLATES {
            templates.clear();
        }
        templates.insert(bytes, template.clone());
        Ok(template)
    }

    /// Removes a disk with all that is on it. No error if there is none. Blocks.
    ///
    /// # Errors
    /// Of the machine, also while something on it is open.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let at = self.at(name);
        while is_mounted(&at)? {
            unmount(&at, UnmountFlags::NOFOLLOW)?;
        }
        absent(fs::remove_dir(&at))?;
        absent(fs::remove_file(self.file(name)))
    }

    /// Removes all disks but these. Blocks.
    ///
    /// # Errors
    /// Of the machine; what comes after stays.
    pub fn sweep(&self, keep: &HashSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let name = name.strip_suffix(".ext4").unwrap_or(&name);
            if !keep.contains(name) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// How full a disk is; `None` if there is none.
    #[must_use]
    pub fn usage(&self, name: &str) -> Option<DiskUsage> {
        let at = self.at(name);
        if !is_mounted(&at).ok()? {
            return None;
        }
        let told = rustix::fs::statvfs(&at).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Some(DiskUsage { used: bytes(told.f_blocks.saturating_sub(told.f_bfree)), size: bytes(told.f_blocks) })
    }
}

/// Whether something is mounted there: a mount is another device than the folder it is in.
pub(crate) fn is_mounted(at: &Path) -> io::Result<bool> {
    match (fs::metadata(at), at.parent().map(fs::metadata)) {
        (Ok(this), Some(Ok(above))) => Ok(this.dev() != above.dev()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        (Err(error), _) | (Ok(_), Some(Err(error))) => Err(error),
        (Ok(_), None) => Ok(false),
    }
}

pub(crate) fn absent(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Disks promise together more than the machine may have. Whoever looks after it is told when one of them could fill it.
fn warn_if_scarce(file: &File, name: &str, bytes: u64) {
    let Ok(told) = rustix::fs::fstatvfs(file) else { return };
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    if free < bytes {
        tracing::warn!(disk = name, bytes, free, "the machine has less room than this disk may take");
    }
}

/// A file of that size with nothing in it.
fn empty(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(bytes)?;
    Ok(file)
}

/// What was written of a sparse file.
fn pieces(file: &File) -> io::Result<Template> {
    let (mut pieces, mut end) = (Vec::new(), 0);
    loop {
        let from = match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(from) => from,
            // Nothing follows.
            Err(rustix::io::Errno::NXIO) => return Ok(pieces),
            Err(error) => return Err(error.into()),
        };
        end = rustix::fs::seek(file, SeekFrom::Hole(from))?;
        if end - from > LARGEST_PIECE {
            return Err(io::Error::other("the file system that disks are to be on keeps no sparse files"));
        }
        let mut piece = vec![0; usize::try_from(end - from).map_err(io::Error::other)?];
        file.read_exact_at(&mut piece, from)?;
        pieces.push((from, piece));
    }
}

fn format(path: &Path) -> io::Result<()> {
    let mut command = Command::new(PROGRAM);
    command.args(FORMAT).arg(path).env("PATH", program_path()).stdin(Stdio::null());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{PROGRAM} {}: {}", path.display(), said.trim())))
}

/// A loop device that is let go of with its last use: until it is mounted, with this.
struct Device {
    path: PathBuf,
    _open: File,
}

/// Has a loop device show the file, without keeping a second copy of it in memory where the file system below allows that.
fn attach(file: &File) -> io::Result<Device> {
    let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
    for _ in 0..TRIES {
        let path = PathBuf::from(format!("/dev/loop{}", kernel::free_loop(&control)?));
        let open = OpenOptions::new().read(true).write(true).open(&path)?;
        match kernel::configure_loop(&open, file) {
            Ok(()) => return Ok(Device { path, _open: open }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no loop device stays free long enough to be taken"))
}

/// Two calls that no library of ours has.
mod kernel {
    #![allow(unsafe_code)] // ioctl; what is passed is laid out as <linux/loop.h> says, and outlives the call.

    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;

    const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
    /// Since Linux 5.8; sets file and flags in one step, so that none is ever half made.
    const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
    const AUTOCLEAR: u32 = 4;
    const DIRECT_IO: u32 = 16;
    /// `lo_flags` in `struct loop_info64`: after five numbers of eight bytes and three of four.
    const FLAGS_AT: usize = 52;

    /// `struct loop_config`: descriptor, block size (0 for the usual), `struct loop_info64`, room for later.
    #[repr(C)]
    struct Configuration {
        file: u32,
        block_size: u32,
        info: [u8; 232],
        reserved: [u64; 8],
    }

    pub(super) fn free_loop(control: &File) -> io::Result<i32> {
        // SAFETY: takes no argument.
        match unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) } {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(number),
        }
    }

    pub(super) fn configure_loop(device: &File, file: &File) -> io::Result<()> {
        let mut info = [0; 232];
        info[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&(AUTOCLEAR | DIRECT_IO).to_ne_bytes());
        let file = file.as_raw_fd().unsigned_abs();
        let configuration = Configuration { file, block_size: 0, info, reserved: [0; 8] };
        // SAFETY: reads a `struct loop_config`, which this is, and keeps no pointer to it.
        match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const configuration) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}
