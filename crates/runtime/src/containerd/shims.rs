//! Shims that nobody looks after: containerd killed between starting one and making its task forgets it, and it would
//! run until the machine is restarted.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The program of [`super::RUNTIME`].
const SHIM: &str = "containerd-shim-runc-v2";

/// Whose shim it is.
pub(super) struct Owner<'a> {
    pub(super) namespace: &'a str,
    pub(super) id: &'a str,
    /// containerd's socket, as containerd and its shims name it.
    pub(super) address: &'a str,
}

impl Owner<'_> {
    /// Whether this command line, its words each ended by a zero, is the shim of exactly this container. The runs of the same
    /// program that start or clear away a shim are not it; they end by themselves.
    fn runs(&self, line: &[u8]) -> bool {
        let words: Vec<&[u8]> = line.strip_suffix(&[0]).unwrap_or(line).split(|byte| *byte == 0).collect();
        let says = |flag: &str, value: &str| {
            words.windows(2).any(|pair| pair[0] == flag.as_bytes() && pair[1] == value.as_bytes())
        };
        let program = words.first().and_then(|path| path.rsplit(|byte| *byte == b'/').next());
        let passes = words.last().is_some_and(|last| [&b"start"[..], b"delete"].contains(last));
        program == Some(SHIM.as_bytes())
            && says("-namespace", self.namespace)
            && says("-id", self.id)
            && says("-address", self.address)
            && !passes
    }
}

/// Ends the container's shims, which must have no task any more; how many there were. SIGKILL, because the shim ignores
/// requests to end that do not come over its socket, which containerd has forgotten.
pub(super) fn end(owner: &Owner<'_>) -> usize {
    let line = |pid: Pid| std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let pids = names.filter_map(|name| name.to_str()?.parse().ok().and_then(Pid::from_raw));
    let mut ended = 0;
    for pid in pids.filter(|pid| owner.runs(&line(*pid))) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Looked at again now that the handle holds the process: the number may have gone to another one meanwhile.
        if owner.runs(&line(pid)) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            tracing::warn!(id = owner.id, pid = pid.as_raw_nonzero(), "a shim that had lost its task was ended");
            ended += 1;
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shim_of_exactly_this_container_is_meant() {
        let owner = Owner { namespace: "longshore", id: "web-1", address: "/run/l/containerd.sock" };
        let check = |words: &str, want: bool| {
            let line: Vec<u8> = words.split(' ').flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            assert_eq!(owner.runs(&line), want, "{words}");
        };
        let flags = "-namespace longshore -id web-1 -address /run/l/containerd.sock";
        check(&format!("/usr/bin/containerd-shim-runc-v2 {flags}"), true);
        check(&format!("containerd-shim-runc-v2 {flags}"), true);
        check(&format!("containerd-shim-runc-v2 {flags} -debug"), true);
        check(&format!("containerd-shim-runc-v2 {flags} start"), false);
        check(&format!("containerd-shim-runc-v2 {flags} -bundle /b delete"), false);
        check(&format!("vi containerd-shim-runc-v2 {flags}"), false);
        check(&format!("containerd-shim-runc-v2 {flags}").replace("web-1", "web-12"), false);
        check(&format!("containerd-shim-runc-v2 {flags}").replace("longshore", "k8s.io"), false);
        check(&format!("containerd-shim-runc-v2 {flags}").replace("/run/l/", "/run/containerd/"), false);
        check("", false);
    }
}
