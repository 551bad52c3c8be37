//! Writes what a container says on its terminal to a file: containerd's shim, which has files for what is said without one, has
//! for a terminal only programs. It is started by the shim with what is said on descriptor 3, has to close 5 once it is ready, and
//! ends with what is said. It outlives agents, as the shim does.
//!
//! Compiled by build.rs as a static program of its own, because it must start in no time and stay small: there is one for each
//! container with a terminal.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::process::exit;

const SIGTERM: c_int = 15;
const IGNORE: usize = 1;
const SAID: c_int = 3;
const READY: c_int = 5;
/// Of a terminal's line discipline.
const PIECE: usize = 4096;

unsafe extern "C" {
    fn signal(number: c_int, handler: usize) -> usize;
}

fn main() {
    // Name and value of the shim's query, which is `file=PATH`.
    let Some(path) = std::env::args_os().nth(2) else { exit(2) };
    // SAFETY: sets a disposition. The shim sends it when the container is removed; what was said by then is still to be written.
    unsafe { signal(SIGTERM, IGNORE) };
    let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) else { exit(1) };
    // SAFETY: the shim gives both to this process and to nobody else in it.
    let (mut said, ready) = unsafe { (File::from_raw_fd(SAID), File::from_raw_fd(READY)) };
    drop(ready);
    let mut piece = [0; PIECE];
    loop {
        match said.read(&mut piece) {
            Ok(0) => return,
            // A full disk loses what is said, and does not hold up who says it.
            Ok(length) => drop(file.write_all(&piece[..length])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
